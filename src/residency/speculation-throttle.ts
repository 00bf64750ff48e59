/**
 * Decides whether speculative reads of a layer's units pay: it tries them, and pauses them for a while where
 * too many of the units that they read are not wanted. The quality of guesses depends on how much a block's
 * attention changes the state that its FFN sees: little in a deep model, much in a shallow one.
 */

/** Units that may be read in vain for each one that is found. */
const maxWastePerHit = 0.5;
/** Tokens until speculation is tried again. */
const backoffTokens = 64;
/** Weight of the last guess in the exponential moving averages. */
const emaAlpha = 0.2;

/**
 * Slots kept free for speculative reads: the initial and the largest share of all slots, and the factor on
 * the number that was needed.
 */
const [firstShare, largestShare, ofNeeded] = [0.1, 0.3, 1.25];

export class SpeculationThrottle {
  readonly #slots: number;
  #found = 0;
  #wasted = 0;
  #needed: number;
  /** Tokens until the next guess. */
  #backoff: number;

  /** @param slots of the layer; 0 where no unit is to be guessed */
  constructor(slots: number) {
    this.#slots = slots;
    this.#needed = (slots * firstShare) / ofNeeded;
    this.#backoff = slots > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  /** Slots to keep free for the next guess. */
  get reserve(): number {
    if (this.#backoff > 0) return 0;
    const most = Math.floor(this.#slots * largestShare);
    return Math.min(most, Math.ceil(ofNeeded * this.#needed));
  }

  /** Whether to guess for the next token. */
  get open(): boolean {
    return this.#backoff === 0;
  }

  /** Notes a token without a guess. */
  skip(): void {
    if (this.#backoff > 0) this.#backoff--;
  }

  /**
   * Records a guess's outcome: its units that were wanted, its other units, and wanted units that it missed.
   */
  learn(found: number, wasted: number, missed: number): void {
    this.#found += emaAlpha * (found - this.#found);
    this.#wasted += emaAlpha * (wasted - this.#wasted);
    this.#needed += emaAlpha * (found + missed - this.#needed);
    if (this.#wasted <= maxWastePerHit * this.#found) return;
    this.#backoff = backoffTokens;
    this.#found = 0;
    this.#wasted = 0;
  }
}
