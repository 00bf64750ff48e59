/** Temporary failures, and how long to wait before the next attempt. */

import { setTimeout as sleep } from 'node:timers/promises';
import { IoError } from '../errors.ts';
import { formatMs } from '../units.ts';

/** A temporary failure: the connection broke, or the server is busy. */
export class TransientError extends Error {
  /** The wait that the server asks for, in milliseconds; null if it asks for none. */
  readonly waitMs: number | null;

  constructor(message: string, waitMs: number | null = null, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TransientError';
    this.waitMs = waitMs;
  }
}

/** Pauses and limits of network access, in milliseconds unless stated otherwise. */
export interface HubTiming {
  /** Consecutive failures, without a useful byte in between, that end a download. */
  readonly attempts: number;
  /** The first pause; each further one is twice as long. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** The longest pause that a server may ask for. */
  readonly longestAskedMs: number;
  /** A server that sends less than some kilobytes in this time has stalled. */
  readonly stallMs: number;
}

export const usualTiming: HubTiming = {
  attempts: 6,
  firstPauseMs: 500,
  longestPauseMs: 30_000,
  longestAskedMs: 10 * 60_000,
  stallMs: 30_000,
};

/** Counts failures in a row and waits between them. */
export class Patience {
  readonly #timing: HubTiming;
  readonly #signal: AbortSignal;
  readonly #file: string;
  #failures = 0;

  /** @param file the requested file, for messages */
  constructor(timing: HubTiming, signal: AbortSignal, file: string) {
    this.#timing = timing;
    this.#signal = signal;
    this.#file = file;
  }

  /** Data has arrived: earlier failures no longer count. */
  reset(): void {
    this.#failures = 0;
  }

  /**
   * Waits before the next attempt.
   * @throws `error` if it is permanent; IoError after too many failures; the signal's reason
   */
  async after(error: unknown): Promise<void> {
    this.#signal.throwIfAborted();
    if (!(error instanceof TransientError)) throw error;
    const { attempts, firstPauseMs, longestPauseMs, longestAskedMs } = this.#timing;
    this.#failures++;
    const asked = error.waitMs ?? 0;
    if (this.#failures >= attempts || asked > longestAskedMs) {
      const wait = asked > longestAskedMs ? `; it asks to wait for ${formatMs(asked)}` : '';
      const times = this.#failures > 1 ? `, ${this.#failures} times in a row` : '';
      throw new IoError(
        `${error.message}${times}${wait}`,
        { file: this.#file },
        'Run the same command again: the download resumes where it stopped',
        { cause: error },
      );
    }
    const usual = Math.min(firstPauseMs * 2 ** (this.#failures - 1), longestPauseMs);
    // Random pauses, so that connections that broke together do not all return at once.
    const pause = Math.max(asked, usual * (0.5 + Math.random()));
    await sleep(pause, undefined, { signal: this.#signal });
  }
}

/** The result of `work`, which is repeated as long as it fails temporarily. */
export async function patiently<T>(patience: Patience, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await patience.after(error);
    }
  }
}
