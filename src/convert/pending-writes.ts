/**
 * Writes out of memory that is used again: whoever wants to fill a buffer waits until what it held is
 * written. So reading, checking and writing go on at the same time, and no buffer is allocated for it.
 */
interface PendingWrite {
  readonly begin: number;
  readonly end: number;
  readonly written: Promise<void>;
}

export class PendingWrites {
  readonly #writes = new Set<PendingWrite>();

  /** Notes that `part` is being written. */
  begin(part: Uint8Array, writing: Promise<void>): void {
    const { byteOffset: begin, length } = part;
    const write = { begin, end: begin + length, written: writing };
    this.#writes.add(write);
    // Of those that failed, whoever waits sees the error.
    writing.then(
      () => this.#writes.delete(write),
      () => {},
    );
  }

  /**
   * Resolves when nothing is written out of `bytes` from `address` on any more.
   * @throws what a write out of them threw
   */
  async ended(address: number, bytes: number): Promise<void> {
    const overlapping = [...this.#writes].filter(
      ({ begin, end }) => begin < address + bytes && address < end,
    );
    await Promise.all(overlapping.map(({ written }) => written));
  }

  /** Resolves when all writes have ended. Throws what the first of them threw that failed. */
  async allEnded(): Promise<void> {
    await Promise.all([...this.#writes].map(({ written }) => written));
  }

  /** Resolves when all writes have ended, whether they failed or not. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#writes].map(({ written }) => written));
  }
}

/** Buffers that are filled in turn, each when what it held before is written. */
export class Rotation {
  /** How many there are, and the bytes of each. */
  readonly count: number;
  readonly bytes: number;
  readonly #address: number;
  readonly #pending: PendingWrites;
  #turn = 0;

  /** @param address where they begin, one right after the other */
  constructor(address: number, count: number, bytes: number, pending: PendingWrites) {
    this.count = count;
    this.bytes = bytes;
    this.#address = address;
    this.#pending = pending;
  }

  /**
   * The address of the next buffer, free to be filled. Turns are taken in the order of calls.
   * @throws what the write out of it threw
   */
  async next(): Promise<number> {
    const address = this.#address + (this.#turn++ % this.count) * this.bytes;
    await this.#pending.ended(address, this.bytes);
    return address;
  }
}
