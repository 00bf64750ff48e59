/** Failures that may pass, and how long they are waited for. */

import { setTimeout as sleep } from 'node:timers/promises';
import { IoError } from '../errors.ts';
import { formatMs } from '../units.ts';

/** What is worth trying again: a connection that broke, a server that is busy. */
export class TransientError extends Error {
  /** What the server asks to wait; null where it says nothing. */
  readonly waitMs: number | null;

  constructor(message: string, waitMs: number | null = null, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TransientError';
    this.waitMs = waitMs;
  }
}

/** Pauses and limits of what goes over the network, in milliseconds unless they say otherwise. */
export interface HubTiming {
  /** Failures in a row, without a byte of use between them, that end a download. */
  readonly attempts: number;
  /** The first pause; each further one is twice as long. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** Longest pause that a server may ask for. */
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

  /** @param file what is asked for, for messages */
  constructor(timing: HubTiming, signal: AbortSignal, file: string) {
    this.#timing = timing;
    this.#signal = signal;
    this.#file = file;
  }

  /** Something has come: failures before do not count any more. */
  reset(): void {
    this.#failures = 0;
  }

  /**
   * Waits before the next attempt.
   * @throws `error` when it will not pass; IoError when it has come too often; what the signal says
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
        'Run the same command again: a download goes on where it was stopped',
        { cause: error },
      );
    }
    const usual = Math.min(firstPauseMs * 2 ** (this.#failures - 1), longestPauseMs);
    // Connections that broke together come back one after the other.
    const pause = Math.max(asked, usual * (0.5 + Math.random()));
    await sleep(pause, undefined, { signal: this.#signal });
  }
}

/** What `work` gives, tried again as long as it fails with what may pass. */
export async function patiently<T>(patience: Patience, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await patience.after(error);
    }
  }
}
