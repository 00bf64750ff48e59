/**
 * Whether guessing a layer's neurons ahead pays: guesses are tried, and left alone for a while where
 * too much of what they read is for nothing. How good they are depends on how much a block's attention
 * changes the state that its FFN sees: little in a deep model, much in a shallow one.
 */

/** Neurons read for nothing that each one found may cost. */
const bearable = 0.5;
/** Tokens until guesses are tried again. */
const pause = 64;
/** What the last guess counts. */
const weight = 0.2;

/** Slots kept free for what is foreseen: of all to begin with and at most, and of what was needed. */
const [firstShare, largestShare, ofNeeded] = [0.1, 0.3, 1.25];

export class Foresight {
  readonly #slots: number;
  #found = 0;
  #wasted = 0;
  #needed: number;
  /** Tokens until the next guess. */
  #pause: number;

  /** @param slots of the layer; 0 where nothing shall be guessed */
  constructor(slots: number) {
    this.#slots = slots;
    this.#needed = (slots * firstShare) / ofNeeded;
    this.#pause = slots > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  /** Slots to keep free for the next guess. */
  get reserve(): number {
    if (this.#pause > 0) return 0;
    const most = Math.floor(this.#slots * largestShare);
    return Math.min(most, Math.ceil(ofNeeded * this.#needed));
  }

  /** Whether to guess for the next token. */
  tries(): boolean {
    if (this.#pause === 0) return true;
    this.#pause--;
    return false;
  }

  /** What a guess came to: neurons that were wanted, others, and what was wanted besides. */
  learn(found: number, wasted: number, missed: number): void {
    this.#found += weight * (found - this.#found);
    this.#wasted += weight * (wasted - this.#wasted);
    this.#needed += weight * (found + missed - this.#needed);
    if (this.#wasted <= bearable * this.#found) return;
    this.#pause = pause;
    this.#found = 0;
    this.#wasted = 0;
  }
}
