/** Counts what is read from flash, at the level of the operating system. */

export interface IoSnapshot {
  readonly bytes: number;
  readonly reads: number;
  /** Reads by size: key is the largest power of two, in bytes, that is not above the size. */
  readonly histogram: Readonly<Record<string, number>>;
  /** Time during which at least one read was in flight. */
  readonly busyMs: number;
}

export class IoStats {
  #bytes = 0;
  #reads = 0;
  #inFlight = 0;
  #busySince = 0;
  #busyMs = 0;
  readonly #histogram = new Map<number, number>();

  /** A read of `bytes` is being submitted. */
  begin(bytes: number): void {
    if (this.#inFlight++ === 0) this.#busySince = performance.now();
    this.#bytes += bytes;
    this.#reads++;
    const bucket = 2 ** Math.floor(Math.log2(bytes));
    this.#histogram.set(bucket, (this.#histogram.get(bucket) ?? 0) + 1);
  }

  /** A read has ended, well or not. */
  end(): void {
    if (--this.#inFlight === 0) this.#busyMs += performance.now() - this.#busySince;
  }

  snapshot(): IoSnapshot {
    const running = this.#inFlight > 0 ? performance.now() - this.#busySince : 0;
    const histogram = [...this.#histogram].sort(([a], [b]) => a - b);
    return {
      bytes: this.#bytes,
      reads: this.#reads,
      histogram: Object.fromEntries(histogram),
      busyMs: this.#busyMs + running,
    };
  }
}
