/**
 * Hands out places in one memory after the other. A place never spans two; what is left at the end
 * of a memory stays untouched and so costs no resident memory.
 */
export interface Place {
  readonly arena: number;
  readonly address: number;
}

export class ArenaSpace {
  readonly #limit: number;
  readonly #deskEnd: number;
  readonly #ends: number[];

  /**
   * @param limit bytes one memory may have
   * @param mainEnd where free space begins in the first memory
   * @param deskEnd where it begins in all others
   */
  constructor(limit: number, mainEnd: number, deskEnd: number) {
    this.#limit = limit;
    this.#deskEnd = deskEnd;
    this.#ends = [mainEnd];
  }

  /** Bytes used of each memory. */
  get ends(): readonly number[] {
    return this.#ends;
  }

  /** The largest place that a fresh memory has. */
  get largest(): number {
    return this.#limit - this.#deskEnd;
  }

  /** What a place of `bytes` costs: more than its size where it needs a memory of its own. */
  cost(bytes: number): number {
    return this.#fits(bytes) ? bytes : bytes + this.#deskEnd;
  }

  /** Takes a place of `bytes`, at most {@link largest}. */
  take(bytes: number): Place {
    if (!this.#fits(bytes)) this.#ends.push(this.#deskEnd);
    const arena = this.#ends.length - 1;
    const address = this.#ends[arena] ?? 0;
    this.#ends[arena] = address + bytes;
    return { arena, address };
  }

  #fits(bytes: number): boolean {
    return (this.#ends.at(-1) ?? 0) + bytes <= this.#limit;
  }
}
