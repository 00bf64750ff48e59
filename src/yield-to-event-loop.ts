/** Lets the event loop run during long computations. */

import { InterruptedError } from './errors.ts';

/**
 * Lets the event loop run once, so that it handles output, finished reads and Ctrl-C.
 * @throws InterruptedError when `signal` has aborted
 */
export async function yieldToEventLoop(signal?: AbortSignal): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  if (signal?.aborted) throw new InterruptedError();
}
