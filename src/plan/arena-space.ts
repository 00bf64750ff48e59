/**
 * Allocates places in one memory after the other. A place never spans two memories; the rest of a memory
 * stays untouched and so takes no resident memory.
 */
export interface ArenaAddress {
  readonly arena: number;
  readonly address: number;
}

export class ArenaSpace {
  readonly #limit: number;
  readonly #transferEnd: number;
  readonly #ends: number[];

  /**
   * @param limit the most bytes of one memory
   * @param mainEnd where free space begins in the first memory
   * @param transferEnd where it begins in all others
   */
  constructor(limit: number, mainEnd: number, transferEnd: number) {
    this.#limit = limit;
    this.#transferEnd = transferEnd;
    this.#ends = [mainEnd];
  }

  /** Bytes used of each memory. */
  get ends(): readonly number[] {
    return this.#ends;
  }

  /** The largest place that a new memory can hold. */
  get largest(): number {
    return this.#limit - this.#transferEnd;
  }

  /** The cost in bytes of a place of `bytes`: more than its size where it needs a new memory. */
  cost(bytes: number): number {
    return this.#fits(bytes) ? bytes : bytes + this.#transferEnd;
  }

  /** Takes a place of `bytes`, at most {@link largest}. */
  take(bytes: number): ArenaAddress {
    if (!this.#fits(bytes)) this.#ends.push(this.#transferEnd);
    const arena = this.#ends.length - 1;
    const address = this.#ends[arena] ?? 0;
    this.#ends[arena] = address + bytes;
    return { arena, address };
  }

  #fits(bytes: number): boolean {
    return (this.#ends.at(-1) ?? 0) + bytes <= this.#limit;
  }
}
