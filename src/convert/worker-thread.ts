/** Threads that help a conversion: when they pay, and how they start. */

import { extname } from 'node:path';
import { type ResourceLimits, Worker } from 'node:worker_threads';
import { addressLimit } from '../address-space.ts';
import { availableThreads } from '../kernels/threads/available.ts';
import { MIB } from '../units.ts';
import { keepYoungGenerationSmall } from '../young-generation.ts';

/** Fewer bytes are converted before a thread has started. */
const leastBytes = 64 * MIB;

/** Sources need a loader, which a thread does not get from its process on every version of Node. */
const isCompiled = extname(import.meta.url) === '.js';

/**
 * Whether threads pay for `bytes` of weights: there is a second processor, and no limit that they might
 * exceed.
 */
export function threadsPay(bytes: number): boolean {
  return isCompiled && bytes >= leastBytes && availableThreads() > 1 && addressLimit() === null;
}

/**
 * Starts a thread.
 * @param file the compiled file with its code, beside this one
 */
export function startThread(file: string, name: string, resourceLimits: ResourceLimits): Worker {
  const worker = new Worker(new URL(file, import.meta.url), {
    name: `flashllm ${name}`,
    resourceLimits,
    // It gets none of this process's options, such as modules to preload.
    env: {},
    argv: [],
    execArgv: [],
    trackUnmanagedFds: false,
  });
  worker.once('online', keepYoungGenerationSmall);
  return worker;
}
