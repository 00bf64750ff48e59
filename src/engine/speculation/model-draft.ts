/**
 * A small model proposes for a large one: both have the same tokens, lie in the same process within one
 * budget, and compute on the same threads, one after the other. The draft guesses the large one's samples
 * with the same random numbers that will be drawn there.
 */

import { brief } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import { rowsOf } from '../../flash/manifest.ts';
import { tensorNames } from '../../models/spec.ts';
import type { LogitsWanted } from '../forward-options.ts';
import type { Model } from '../model.ts';
import type { PassTimes } from '../pass-times.ts';
import type { Runtime } from '../runtime.ts';
import { logitsThatDecide, type Sampler } from '../sampler.ts';
import type { Sequence } from '../sequence.ts';
import { DraftControl } from './control.ts';
import type { Draft, Drafter } from './draft.ts';
import { inTurn, levelFrom, type Proposal } from './proposal.ts';
import type { Retirement } from './retirement.ts';

/** Margins of the likeliest token over the next one, in nats, from which each level begins. */
const leads = [0, 0.25, 0.5, 1, 1.5, 2, 3, 5];
/** First guess at how often the large model chooses the same token. */
const priors = [0.35, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97];

/**
 * An id that both have must be the same token; those that only one has are padding, or are not proposed.
 * @throws InputError when the two do not have the same tokens
 */
export function checkSameTokens(model: Model, draft: Model): void {
  const key = 'tokenizer.json';
  const [own, other] = [model.manifest.files[key], draft.manifest.files[key]];
  if (own && other && own.bytes === other.bytes && own.crc32 === other.crc32) return;
  const size = Math.min(model.tokenizer.vocabularySize, draft.tokenizer.vocabularySize);
  for (let id = 0; id < size; id++) {
    const [a, b] = [model.tokenizer.tokenOf(id), draft.tokenizer.tokenOf(id)];
    if (a === b || a === undefined || b === undefined) continue;
    throw new InputError(
      `the draft has other tokens than the model: token id ${id} is ${brief(b)} in the draft and ${brief(a)} in the model`,
      { file: draft.files.dir },
      'A draft needs the tokenizer of its model: take a smaller model of the same family',
    );
  }
}

export interface ModelDraftOptions {
  /** Durations of the model's passes. */
  readonly passTimes: PassTimes;
  /** The draft's runtime, beside the model's and with as many sequences. */
  readonly draft: Runtime;
  /** The most tokens proposed for a pass. */
  readonly most: number;
  /** See `ControlOptions`. */
  readonly always?: boolean;
  /** For a draft whose memory is of use to the model. */
  readonly retirement?: Retirement | undefined;
}

export class ModelDrafter implements Drafter {
  readonly control: DraftControl;
  readonly retirement: Retirement | undefined;
  readonly #draft: Runtime;
  /** The draft's sequence for each of the model's; a common beginning of two generations is kept. */
  readonly #pairs: { of: Sequence; readonly own: Sequence }[] = [];

  constructor({ passTimes, draft, most, always = false, retirement }: ModelDraftOptions) {
    this.retirement = retirement;
    this.control = new DraftControl({ passTimes, levels: priors, most, free: false, always });
    this.#draft = draft;
  }

  get flashBytes(): number {
    return this.#draft.model.files.scheduler.stats.snapshot().bytes;
  }

  begin(sequence: Sequence, sampler: Sampler): Draft {
    const { retirement } = this;
    if (retirement?.closed) return silent;
    const { vocabSize } = sequence.runtime.model.manifest.spec;
    const own = this.#sequenceFor(sequence);
    return new ModelDraft({ sequence: own, sampler, vocabSize, retirement });
  }

  #sequenceFor(sequence: Sequence): Sequence {
    const pairs = this.#pairs;
    const pair = pairs.find(({ of }) => of === sequence) ?? pairs.find(({ of }) => of.closed);
    if (pair !== undefined) {
      pair.of = sequence;
      return pair.own;
    }
    const own = this.#draft.sequence();
    pairs.push({ of: sequence, own });
    return own;
  }
}

/** Proposes nothing. */
const silent: Draft = { prepare: async () => {}, start: () => {}, next: async () => null };

interface ModelDraftParts {
  /** Of the draft's runtime. */
  readonly sequence: Sequence;
  readonly sampler: Sampler;
  /** Of the model that verifies. */
  readonly vocabSize: number;
  readonly retirement: Retirement | undefined;
}

class ModelDraft implements Draft {
  readonly #parts: ModelDraftParts;
  /** The text, and how many of its ids are known to match the sequence. */
  #ids: readonly number[] = [];
  #known = 0;
  #proposed: number[] = [];
  /** False once the text has an id that the draft has no row for. */
  #follows = true;

  constructor(parts: ModelDraftParts) {
    this.#parts = parts;
  }

  async prepare(promptIds: readonly number[], signal?: AbortSignal): Promise<void> {
    this.start(promptIds);
    const { sequence } = this.#parts;
    const rest = promptIds.slice(sequence.length, -1);
    if (!this.#hasRoom(rest)) return;
    await this.#forward(rest, 'none', signal);
  }

  start(ids: readonly number[]): void {
    const { sequence, retirement } = this.#parts;
    if (retirement?.closed) return;
    this.#ids = ids;
    this.#proposed = [];
    const held = sequence.ids;
    const most = Math.min(held.length, ids.length - 1);
    while (this.#known < most && held[this.#known] === ids[this.#known]) this.#known++;
    sequence.rewind(this.#known);
  }

  async next(signal?: AbortSignal): Promise<Proposal | null> {
    const [ids, proposed] = [this.#ids, this.#proposed];
    const { sequence, sampler, vocabSize } = this.#parts;
    const { length: held } = sequence;
    const missing = [...ids.slice(held), ...proposed.slice(Math.max(0, held - ids.length))];
    if (!this.#hasRoom(missing)) return null;
    // The level depends on the two largest logits.
    const best = logitsThatDecide(sampler.options);
    const wanted = best === null ? 'last' : { best: Math.max(2, best) };
    const logits = await this.#forward(missing, wanted, signal);
    if (logits === null) return null;
    const level = levelOf(logits);
    const token = sampler.guess(logits, inTurn(ids, proposed), proposed.length);
    if (token >= vocabSize) return null;
    proposed.push(token);
    return { token, level };
  }

  /** Appends ids to the draft's sequence. @returns the logits; null once the draft is closed */
  async #forward(
    ids: readonly number[],
    wanted: LogitsWanted,
    signal: AbortSignal | undefined,
  ): Promise<Float32Array | null> {
    const { sequence, retirement } = this.#parts;
    const run = () => sequence.forward(ids, wanted, signal && { signal });
    return retirement === undefined ? run() : retirement.use(run);
  }

  /** Whether the draft can continue with these ids. */
  #hasRoom(ids: readonly number[]): boolean {
    const { sequence } = this.#parts;
    const { plan, model } = sequence.runtime;
    const { rows } = rowsOf(model.files.tensor(tensorNames.tokens));
    this.#follows &&= ids.every((id) => id < rows);
    return this.#follows && sequence.length + ids.length <= plan.context;
  }
}

/** @param logits (vocab) */
function levelOf(logits: Float32Array): number {
  let [first, second] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i] as number;
    if (logit <= second) continue;
    if (logit > first) {
      second = first;
      first = logit;
    } else {
      second = logit;
    }
  }
  return levelFrom(leads, first - second);
}
