/** Guides the sampling of one answer: forced tokens, a grammar, biases, penalties. */

import type { Model } from '../engine/model.ts';
import type { TokenGuide } from '../engine/token-guide.ts';
import type { GrammarFormat } from '../grammar/format.ts';
import { type Constraint, GrammarError, type Grammars } from '../grammar/grammars.ts';
import { Utf8Guard } from '../grammar/utf8-guard.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { type DrawnToken, TokenProbabilities } from './token-probabilities.ts';

/** The request's options for each token. */
export interface Steering {
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly logitBias: ReadonlyMap<number, number>;
  /** How many of the most likely tokens are reported with each token; null: no probabilities. */
  readonly logprobs: number | null;
}

/** The form that an answer must have. */
export interface AnswerForm {
  /** Token ids that it begins with. */
  readonly opening: readonly number[];
  /** The format of what follows them. */
  readonly format: GrammarFormat;
}

interface GuideParts {
  readonly tokenizer: Tokenizer;
  /** Logits. */
  readonly vocabSize: number;
  readonly steering: Steering;
  /** Token ids that the answer begins with. */
  readonly opening: readonly number[];
  /** Holds for what follows them. */
  readonly constraint: Constraint | null;
}

/**
 * The most consecutive blanks, in characters, under a grammar: enough to indent nested values. JSON allows
 * any number of blanks, and some models would write nothing else.
 */
const mostBlanks = 20;

/** Whether the request has any options for tokens. */
export function steers(steering: Steering): boolean {
  const { presencePenalty, frequencyPenalty, logitBias, logprobs } = steering;
  const changes = presencePenalty !== 0 || frequencyPenalty !== 0 || logitBias.size > 0;
  return changes || logprobs !== null;
}

/**
 * The guide of an answer, to be closed after it; null if the request needs none.
 * @param grammars null if grammars are disabled: then `form` is null, too
 * @throws GrammarError when the engine refuses the grammar
 */
export async function guideOf(
  { tokenizer, manifest }: Model,
  grammars: Grammars | null,
  { steering, form }: { readonly steering: Steering; readonly form: AnswerForm | null },
): Promise<AnswerGuide | null> {
  const constraint = form === null || grammars === null ? null : await grammars.open(form.format);
  const opening = form?.opening ?? [];
  if (!steers(steering) && opening.length === 0 && constraint === null) return null;
  const { vocabSize } = manifest.spec;
  return new AnswerGuide({ steering, opening, constraint, tokenizer, vocabSize });
}

export class AnswerGuide implements TokenGuide {
  readonly #parts: GuideParts;
  readonly #counts = new Map<number, number>();
  readonly #probabilities: TokenProbabilities | null;
  #drawn: DrawnToken[] = [];
  #tokens = 0;
  /** Blanks at the end of the answer. */
  #blanks = 0;
  /** Null without a grammar. */
  readonly #utf8: Utf8Guard | null;

  constructor(parts: GuideParts) {
    this.#parts = parts;
    const { logprobs } = parts.steering;
    const { tokenizer, constraint, vocabSize } = parts;
    this.#utf8 = constraint === null ? null : new Utf8Guard(tokenizer, vocabSize);
    this.#probabilities = logprobs === null ? null : new TokenProbabilities(logprobs);
  }

  async prepare(logits: Float32Array): Promise<void> {
    const { steering, opening, constraint } = this.#parts;
    this.#probabilities?.look(logits);
    for (const [id, bias] of steering.logitBias) {
      if (id < logits.length) logits[id] = (logits[id] as number) + bias;
    }
    for (const [id, count] of this.#counts) {
      const penalty = steering.presencePenalty + count * steering.frequencyPenalty;
      logits[id] = (logits[id] as number) - penalty;
    }
    const forced = opening[this.#tokens];
    if (forced !== undefined) logits.fill(Number.NEGATIVE_INFINITY).fill(0, forced, forced + 1);
    else if (constraint !== null) this.#ban(logits, await constraint.mask());
  }

  drawn(token: number): void {
    const { opening, constraint, tokenizer } = this.#parts;
    if (this.#probabilities !== null) this.#drawn.push(this.#probabilities.drawn(token));
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1);
    const isOpening = this.#tokens++ < opening.length;
    if (constraint === null || isOpening) return;
    this.#utf8?.take(token);
    this.#blanks = isBlank(tokenizer, token) ? this.#blanks + lengthOf(tokenizer, token) : 0;
    if (!tokenizer.eosIds.includes(token)) constraint.advance(token);
  }

  /** The drawn tokens since the last call, with their probabilities. */
  takeDrawn(): DrawnToken[] {
    const drawn = this.#drawn;
    this.#drawn = [];
    return drawn;
  }

  close(): void {
    this.#parts.constraint?.close();
  }

  /**
   * Bans tokens that the mask excludes, blanks when there have been enough, and tokens that would
   * break UTF-8.
   */
  #ban(logits: Float32Array, mask: Int32Array): void {
    const { tokenizer } = this.#parts;
    const noBlanks = this.#blanks >= mostBlanks;
    let left = 0;
    const blanks: number[] = [];
    for (let id = 0; id < logits.length; id++) {
      const word = mask[id >> 5] as number;
      const allowed = ((word >>> (id & 31)) & 1) === 1;
      if (allowed && noBlanks && isBlank(tokenizer, id)) blanks.push(id);
      else if (allowed && !this.#utf8?.breaks(id)) left++;
      else logits[id] = Number.NEGATIVE_INFINITY;
    }
    if (left > 0) for (const id of blanks) logits[id] = Number.NEGATIVE_INFINITY;
    else if (blanks.length === 0) throw new GrammarError('the grammar allows no token');
  }
}

function isBlank(tokenizer: Tokenizer, id: number): boolean {
  const bytes = tokenizer.bytesOf(id);
  return bytes.length > 0 && bytes.every((byte) => byte === 32 || (byte >= 9 && byte <= 13));
}

function lengthOf(tokenizer: Tokenizer, id: number): number {
  return tokenizer.bytesOf(id).length;
}
