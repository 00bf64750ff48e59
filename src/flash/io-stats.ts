/** Counts reads from flash at the level of the operating system, and the time spent waiting for them. */

import { AwaitedRate, type Flight } from './awaited-rate.ts';

export interface IoSnapshot {
  readonly bytes: number;
  readonly reads: number;
  /** Reads by size: the key is the largest power of two, in bytes, that is not above the size. */
  readonly histogram: Readonly<Record<string, number>>;
  /** Time during which at least one read was in flight. */
  readonly busyMs: number;
  /** Time during which the engine waited for reads. */
  readonly waitMs: number;
  /** Bytes and milliseconds of the stretches in which the engine waited for reads (awaited-rate.ts). */
  readonly awaitedBytes: number;
  readonly awaitedMs: number;
}

export class IoStats {
  #bytes = 0;
  #reads = 0;
  #inFlight = 0;
  #busySince = 0;
  #busyMs = 0;
  #waitMs = 0;
  readonly #histogram = new Map<number, number>();
  readonly #awaited = new AwaitedRate();

  /** A read of `bytes` is being submitted. */
  begin(bytes: number): Flight {
    const now = performance.now();
    if (this.#inFlight++ === 0) this.#busySince = now;
    this.#bytes += bytes;
    this.#reads++;
    const bucket = 2 ** Math.floor(Math.log2(bytes));
    this.#histogram.set(bucket, (this.#histogram.get(bucket) ?? 0) + 1);
    return { bytes, since: now };
  }

  /** A read has ended, successfully or not. */
  end(flight: Flight): void {
    const now = performance.now();
    const alone = --this.#inFlight === 0;
    if (alone) this.#busyMs += now - this.#busySince;
    this.#awaited.ended(flight, now, alone);
  }

  /** Waits for reads and counts the time, for an engine that has no other work meanwhile. */
  async awaited<T>(reads: Promise<T>): Promise<T> {
    const started = performance.now();
    this.#awaited.waits(started);
    try {
      return await reads;
    } finally {
      this.#awaited.goesOn();
      this.#waitMs += performance.now() - started;
    }
  }

  snapshot(): IoSnapshot {
    const running = this.#inFlight > 0 ? performance.now() - this.#busySince : 0;
    const histogram = [...this.#histogram].sort(([a], [b]) => a - b);
    return {
      bytes: this.#bytes,
      reads: this.#reads,
      histogram: Object.fromEntries(histogram),
      busyMs: this.#busyMs + running,
      waitMs: this.#waitMs,
      awaitedBytes: this.#awaited.bytes,
      awaitedMs: this.#awaited.ms,
    };
  }
}
