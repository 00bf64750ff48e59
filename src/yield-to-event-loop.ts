/** How long computations let the event loop turn. */

import { InterruptedError } from './errors.ts';

/**
 * Lets the event loop turn once: output, reads that have ended, Ctrl-C.
 * @throws InterruptedError when `signal` has aborted
 */
export async function yieldToEventLoop(signal?: AbortSignal): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  if (signal?.aborted) throw new InterruptedError();
}
