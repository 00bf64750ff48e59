/** Work with a time limit, on a machine that is busy with other things. */

import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import { TimeLimitError } from './time-limit.ts';

/** How often work that did not get the processor is tried. */
const attempts = 20;

/**
 * The result of `work`, whose time is limited; tried again, after the event loop has run, if it did not get
 * the processor.
 * @throws TimeLimitError when it does not end, InterruptedError when `signal` has aborted
 */
export async function patiently<T>(work: () => T, signal?: AbortSignal): Promise<T> {
  for (let left = attempts; ; left--) {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof TimeLimitError && error.starved) || left === 1) throw error;
    }
    await yieldToEventLoop(signal);
  }
}
