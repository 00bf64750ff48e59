/**
 * How fast the device reads while the engine waits for it. A read that ends meanwhile is seen at once; one that
 * ends while kernels compute is seen when the event loop turns again, nobody knows how long after. So what is
 * timed are the stretches in which the device certainly had something to read: they end with a read that was
 * seen at once, and begin with its own beginning and that of those begun together with it, or with the end of
 * the stretch before.
 *
 *     engine     computes ................. waits .......... computes ....... waits ....
 *     reads         [================....]                [===============.......]
 *                   [=======================]     [==.............................]
 *                   [===============================]                   [==========]
 *     timed         [===============================]                   [==========]
 *
 * (dots: it has ended, and nobody has seen it.) Bytes are those of the reads that were seen in such a stretch
 * and began in it, or in one that it follows without a gap. Reads that are under way when a stretch ends count
 * in none, so the rate is rather too low than too high.
 */

/** A read under way. */
export interface Flight {
  readonly bytes: number;
  /** When it began. */
  readonly since: number;
}

/** Of reads that nobody waits for, however many there are. */
const mostSeen = 1024;
/** What is seen so soon after the engine began to wait may have ended before. Milliseconds. */
const blindMs = 0.2;
/** Reads are begun one after the other: those that begin within so many milliseconds begin together. */
const burstMs = 1;

export class AwaitedRate {
  #bytes = 0;
  #ms = 0;
  /** When the last stretch ended. */
  #end = Number.NEGATIVE_INFINITY;
  /** What was seen since. */
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

  /** The engine has what it waited for. */
  goesOn(): void {
    this.#waiting = null;
  }

  /**
   * A read is seen to have ended.
   * @param alone whether no other one is under way
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
      // Nothing that is still to come began before these were seen.
      this.#seen = [];
    }
  }
}
