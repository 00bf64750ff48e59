/**
 * Writes out of buffers that are used again: whoever wants to fill a buffer waits until what it held is
 * written. So reading, checking and writing go on at the same time, and no buffer is allocated for it.
 */
export class PendingWrites {
  /** By the address where the buffer begins. */
  readonly #byAddress = new Map<number, Promise<void>>();

  /** Notes that `part`, which begins where its buffer does, is being written. */
  begin(part: Uint8Array, writing: Promise<void>): void {
    const address = part.byteOffset;
    const earlier = this.#byAddress.get(address);
    const all = earlier === undefined ? writing : Promise.all([earlier, writing]).then(() => {});
    all.catch(() => {}); // whoever waits sees the error
    this.#byAddress.set(address, all);
  }

  /**
   * Resolves when nothing is written out of the buffer at `address` any more.
   * @throws what the write threw
   */
  async ended(address: number): Promise<void> {
    const writing = this.#byAddress.get(address);
    if (writing === undefined) return;
    await writing;
    if (this.#byAddress.get(address) === writing) this.#byAddress.delete(address);
  }

  /** Resolves when all writes have ended. Throws what the first of them threw that failed. */
  async allEnded(): Promise<void> {
    for (const address of [...this.#byAddress.keys()]) await this.ended(address);
  }

  /** Resolves when all writes have ended, whether they failed or not. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#byAddress.values());
  }
}

/** Buffers that are filled in turn, each when what it held before is written. */
export class Rotation {
  readonly #addresses: readonly number[];
  readonly #pending: PendingWrites;
  #turn = 0;

  constructor(addresses: readonly number[], pending: PendingWrites) {
    this.#addresses = addresses;
    this.#pending = pending;
  }

  /**
   * The address of the next buffer, free to be filled. Turns are taken in the order of calls.
   * @throws what the write out of it threw
   */
  async next(): Promise<number> {
    const address = this.#addresses[this.#turn++ % this.#addresses.length] as number;
    await this.#pending.ended(address);
    return address;
  }
}
