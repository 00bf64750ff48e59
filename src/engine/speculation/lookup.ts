/**
 * A draft without a model: it looks up where the last tokens of a text occurred before, and proposes the
 * tokens that followed them there. Texts that repeat parts of the prompt, such as edited code, are made many
 * tokens at once.
 *
 * Places are found by the last two tokens, by a chain of earlier occurrences, and the longest match
 * wins, the latest of equals:
 *
 *     heads[hash of two tokens] -> place -> links[place] -> earlier place -> ... -> -1
 */

import type { PassTimes } from '../pass-times.ts';
import { DraftControl } from './control.ts';
import type { Draft, Drafter } from './draft.ts';
import { levelFrom, type Proposal } from './proposal.ts';

/** The fewest tokens of a match; the chain links places by this many. */
const least = 2;
/** The most tokens of a match that are compared. */
const longest = 24;
/** The most places compared, so that a token costs as much in a long text as in a short one. */
const mostPlaces = 48;

/** The shortest match of each level, and how often its tokens are right. */
const lengths = [2, 3, 4, 6, 9, 14, 20];
const priors = [0.3, 0.4, 0.5, 0.6, 0.75, 0.85, 0.9];

/** Where a text's last tokens occurred in it before. */
export class TextIndex {
  readonly #ids: number[] = [];
  /** Per hash: the latest place after two such tokens, or -1. */
  #heads = new Int32Array(256).fill(-1);
  /** Per place: the one before it with the same hash. */
  #links = new Int32Array(256);

  /** Tokens of the text. */
  get length(): number {
    return this.#ids.length;
  }

  /** Extends the text to `ids`, which begin with the text so far. */
  extend(ids: readonly number[]): void {
    for (let i = this.#ids.length; i < ids.length; i++) this.#push(ids[i] as number);
  }

  /**
   * The longest match of the last tokens: the place after it, and its length.
   * @returns null where the last two tokens are new
   */
  find(): { readonly place: number; readonly length: number } | null {
    const ids = this.#ids;
    const end = ids.length;
    if (end < least) return null;
    let best: { place: number; length: number } | null = null;
    // The chain begins with the end itself.
    let place = this.#links[end] ?? -1;
    for (let looked = 0; place >= 0 && looked < mostPlaces; looked++) {
      let length = 0;
      while (
        length < longest &&
        length < place &&
        ids[place - 1 - length] === ids[end - 1 - length]
      ) {
        length++;
      }
      if (length >= least && length > (best?.length ?? 0)) best = { place, length };
      if (length === longest) break;
      place = this.#links[place] ?? -1;
    }
    return best;
  }

  /** The token at a place. */
  at(place: number): number | undefined {
    return this.#ids[place];
  }

  #push(id: number): void {
    this.#ids.push(id);
    const place = this.#ids.length;
    if (place >= this.#links.length) this.#grow();
    if (place < least) return;
    const hash = this.#hash(place);
    this.#links[place] = this.#heads[hash] ?? -1;
    this.#heads[hash] = place;
  }

  /** Doubles the room and rebuilds the chains. */
  #grow(): void {
    const size = 2 * this.#links.length;
    this.#heads = new Int32Array(size).fill(-1);
    this.#links = new Int32Array(size);
    for (let place = least; place < this.#ids.length; place++) {
      const hash = this.#hash(place);
      this.#links[place] = this.#heads[hash] ?? -1;
      this.#heads[hash] = place;
    }
  }

  /** The hash of the two tokens before a place. */
  #hash(place: number): number {
    const [a = 0, b = 0] = [this.#ids[place - 2], this.#ids[place - 1]];
    return (Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b)) >>> (32 - this.#bits);
  }

  get #bits(): number {
    return 31 - Math.clz32(this.#heads.length);
  }
}

/** Bytes that looking up takes per position of a sequence: its tokens and chains. */
export const lookupBytes = 40;

export interface LookupOptions {
  readonly passTimes: PassTimes;
  /** The most tokens proposed for a pass. */
  readonly most: number;
  /** See `ControlOptions`. */
  readonly always?: boolean;
}

/** Proposes the tokens that followed a sequence's last tokens at an earlier occurrence. */
export class LookupDrafter implements Drafter {
  readonly control: DraftControl;
  readonly flashBytes = 0;

  constructor(options: LookupOptions) {
    this.control = new DraftControl({ ...options, levels: priors, free: true });
  }

  begin(): Draft {
    return new LookupDraft();
  }
}

class LookupDraft implements Draft {
  readonly #index = new TextIndex();
  #match: ReturnType<TextIndex['find']> = null;
  readonly #proposed: number[] = [];

  async prepare(promptIds: readonly number[]): Promise<void> {
    this.#index.extend(promptIds);
  }

  start(ids: readonly number[]): void {
    this.#index.extend(ids);
    this.#match = this.#index.find();
    this.#proposed.length = 0;
  }

  async next(): Promise<Proposal | null> {
    if (this.#match === null) return null;
    const { place, length } = this.#match;
    const done = this.#proposed.length;
    // Beyond the text's end, the proposal continues from its own beginning, as if the text repeated itself.
    const token = this.#index.at(place + done) ?? this.#proposed[place + done - this.#index.length];
    if (token === undefined) return null;
    this.#proposed.push(token);
    return { token, level: levelFrom(lengths, length + done) };
  }
}
