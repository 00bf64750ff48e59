/** Steers one answer as its request wants it: forced tokens, a grammar, biases, penalties. */

import type { Model } from '../engine/model.ts';
import type { TokenGuide } from '../engine/token-guide.ts';
import type { GrammarFormat } from '../grammar/format.ts';
import { type Constraint, GrammarError, type Grammars } from '../grammar/grammars.ts';
import { Utf8Guard } from '../grammar/utf8-guard.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { type DrawnToken, TokenProbabilities } from './token-probabilities.ts';

/** What a request asks of each token. */
export interface Steering {
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly logitBias: ReadonlyMap<number, number>;
  /** How many of the most likely tokens are told with each token; null: nothing is told. */
  readonly logprobs: number | null;
}

/** What an answer is held to. */
export interface AnswerForm {
  /** Ids that it begins with. */
  readonly opening: readonly number[];
  /** Holds for what follows them. */
  readonly format: GrammarFormat;
}

interface GuideParts {
  readonly tokenizer: Tokenizer;
  /** Logits. */
  readonly vocabSize: number;
  readonly steering: Steering;
  /** Ids that the answer begins with. */
  readonly opening: readonly number[];
  /** Holds for what follows them. */
  readonly constraint: Constraint | null;
}

/**
 * Blanks in a row, in characters, under a grammar: enough to indent what is nested. JSON may have them
 * without end, and some models write nothing else.
 */
const mostBlanks = 20;

/** Whether anything is asked of tokens. */
export function steers(steering: Steering): boolean {
  const { presencePenalty, frequencyPenalty, logitBias, logprobs } = steering;
  const changes = presencePenalty !== 0 || frequencyPenalty !== 0 || logitBias.size > 0;
  return changes || logprobs !== null;
}

/**
 * What guides an answer of the model, to be closed after it; null where nothing is asked of it.
 * @param grammars null where answers cannot be held to any: then `form` is
 * @throws GrammarError when the engine does not take the grammar
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
  /** Null where there is no grammar. */
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

  /** What is told of the tokens since the last call. */
  takeDrawn(): DrawnToken[] {
    const drawn = this.#drawn;
    this.#drawn = [];
    return drawn;
  }

  close(): void {
    this.#parts.constraint?.close();
  }

  /**
   * Bans what the mask does not have; blanks, where there have been enough; and what would be
   * no UTF-8.
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
