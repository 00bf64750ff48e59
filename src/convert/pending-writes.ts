/**
 * Tracks writes from memory that is reused: a caller that wants to fill a buffer waits until its earlier
 * content is written. So reading, checking and writing overlap without further buffers.
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
    // The caller that waits sees the error of a failed write.
    writing.then(
      () => this.#writes.delete(write),
      () => {},
    );
  }

  /**
   * Resolves when no write from the `bytes` at `address` is under way any more.
   * @throws the error of a write from them
   */
  async ended(address: number, bytes: number): Promise<void> {
    const overlapping = [...this.#writes].filter(
      ({ begin, end }) => begin < address + bytes && address < end,
    );
    await Promise.all(overlapping.map(({ written }) => written));
  }

  /** Resolves when all writes have ended. Throws the error of the first that failed. */
  async allEnded(): Promise<void> {
    await Promise.all([...this.#writes].map(({ written }) => written));
  }

  /** Resolves when all writes have ended, whether they failed or not. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#writes].map(({ written }) => written));
  }
}

/** Buffers that are filled in turn, each once its earlier content is written. */
export class Rotation {
  /** The number of buffers, and the bytes of each. */
  readonly count: number;
  readonly bytes: number;
  readonly #address: number;
  readonly #pending: PendingWrites;
  #turn = 0;

  /** @param address where the first begins; the others follow without gaps */
  constructor(address: number, count: number, bytes: number, pending: PendingWrites) {
    this.count = count;
    this.bytes = bytes;
    this.#address = address;
    this.#pending = pending;
  }

  /**
   * The address of the next buffer, free to be filled. Turns are taken in the order of calls.
   * @throws the error of the write from it
   */
  async next(): Promise<number> {
    const address = this.#address + (this.#turn++ % this.count) * this.bytes;
    await this.#pending.ended(address, this.bytes);
    return address;
  }
}
