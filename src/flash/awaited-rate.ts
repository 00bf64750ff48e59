/**
 * Measures how fast the device reads while the engine waits for it. The end of a read is seen at once while
 * the engine waits; while kernels compute, it is seen only when the event loop runs again, an unknown time
 * later. Only stretches in which the device certainly had something to read are timed: a stretch ends with a
 * read whose end was seen at once, and begins when that read and the reads begun together with it began, or
 * at the end of the stretch before.
 *
 *     engine     computes ................. waits .......... computes ....... waits ....
 *     reads         [================....]                [===============.......]
 *                   [=======================]     [==.............................]
 *                   [===============================]                   [==========]
 *     timed         [===============================]                   [==========]
 *
 * (dots: the read has ended, but its end was not seen yet.) The bytes are those of reads whose end was seen
 * in such a stretch and that began in it, or in one that it follows without a gap. Reads in flight at the end
 * of a stretch do not count, so that the rate is too low rather than too high.
 */

/** A read in flight. */
export interface Flight {
  readonly bytes: number;
  /** When it began. */
  readonly since: number;
}

/** The most reads to remember while the engine does not wait for any. */
const mostSeen = 1024;
/** Milliseconds: a read whose end is seen this soon after the engine began to wait may have ended earlier. */
const blindMs = 0.2;
/**
 * Milliseconds: reads are begun one after the other; those that begin within this time count as begun
 * together.
 */
const burstMs = 1;

export class AwaitedRate {
  #bytes = 0;
  #ms = 0;
  /** When the last stretch ended. */
  #end = Number.NEGATIVE_INFINITY;
  /** Reads whose end was seen since. */
  #seen: Flight[] = [];
  /** When the engine began to wait; null while it does not. */
  #waiting: number | null = null;

  get bytes(): number {
    return this.#bytes;
  }

  get ms(): number {
    return this.#ms;
  }

  waits(now: number): void {
    this.#waiting = now;
  }

  /** Called when the engine has what it waited for. */
  goesOn(): void {
    this.#waiting = null;
  }

  /**
   * Records that the end of a read was seen.
   * @param alone whether no other read is in flight
   */
  ended(flight: Flight, now: number, alone: boolean): void {
    if (this.#seen.push(flight) > mostSeen) this.#seen.splice(0, mostSeen / 2);
    if (this.#waiting !== null && now - this.#waiting >= blindMs) {
      const together = this.#seen
        .map(({ since }) => since)
        .filter((since) => since >= flight.since - burstMs);
      const begin = Math.max(this.#end, Math.min(...together));
      for (const { bytes, since } of this.#seen) {
        if (begin === this.#end || since >= begin) this.#bytes += bytes;
      }
      this.#ms += now - begin;
      this.#end = now;
      this.#seen = [];
    } else if (alone) {
      // Reads still to come cannot have begun before these ended.
      this.#seen = [];
    }
  }
}
