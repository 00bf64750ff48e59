/** Answers wait here for a sequence: first come, first served, up to a limit. */

import { InterruptedError } from '../errors.ts';
import { Refusal } from '../openai/refusal.ts';

/** The default for the most requests that may wait. */
export const usualQueue = 64;

/** Seconds of `Retry-After` at most: a client that waits longer has given up. */
const longestRetry = 60;

export class JobQueue {
  readonly #parallel: number;
  readonly #limit: number;
  /** Each is called when its turn has come. */
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #admitted = 0;
  /** Running mean of a job's duration in milliseconds; recent jobs weigh more. */
  #usualMs = 1000;

  /**
   * @param parallel jobs at once
   * @param limit further requests that may wait
   */
  constructor(parallel: number, limit: number) {
    this.#parallel = parallel;
    this.#limit = limit;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Admits a request.
   * @returns a function to call when the request has ended
   * @throws Refusal when too many requests wait
   */
  admit(): () => void {
    if (this.#admitted >= this.#parallel + this.#limit) {
      const seconds = Math.ceil((this.#usualMs * this.#admitted) / this.#parallel / 1000);
      const retry = `${Math.min(longestRetry, Math.max(1, seconds))}`;
      throw new Refusal(
        'queue_full',
        `${this.#parallel} requests are being answered and ${this.#limit} are waiting: try again in ${retry} s`,
        { status: 429, headers: { 'retry-after': retry } },
      );
    }
    this.#admitted++;
    let inside = true;
    return () => {
      if (inside) this.#admitted--;
      inside = false;
    };
  }

  /**
   * Does `work` when its turn has come.
   * @throws InterruptedError when the signal aborts before
   */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#turn(signal);
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.#usualMs += 0.2 * (performance.now() - started - this.#usualMs);
      this.#running--;
      this.#next();
    }
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        reject(new InterruptedError());
      };
      const begin = () => {
        signal.removeEventListener('abort', leave);
        this.#running++;
        resolve();
      };
      if (signal.aborted) {
        reject(new InterruptedError());
        return;
      }
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(begin);
      this.#next();
    });
  }

  #next(): void {
    while (this.#running < this.#parallel) {
      const begin = this.#waiting.shift();
      if (begin === undefined) return;
      begin();
    }
  }
}
