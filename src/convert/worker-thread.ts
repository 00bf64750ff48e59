/** Threads that help a conversion: when they pay, and how they start. */

import { extname } from 'node:path';
import { type ResourceLimits, Worker } from 'node:worker_threads';
import { addressLimit } from '../address-space.ts';
import { availableThreads } from '../kernels/threads/available.ts';
import { MIB } from '../units.ts';
import { keepYoungGenerationSmall } from '../young-generation.ts';

/** Fewer bytes are converted before a thread has started. */
const leastBytes = 64 * MIB;

/** Whether threads pay for `bytes` of weights: there is a second processor, and no limit that they might exceed. */
export function threadsPay(bytes: number): boolean {
  return bytes >= leastBytes && availableThreads() > 1 && addressLimit() === null;
}

/**
 * Starts a thread with the code of a file beside this one.
 * @param file its name without the ending, which is that of sources or of compiled code
 */
export function startThread(file: string, name: string, resourceLimits: ResourceLimits): Worker {
  const code = new URL(`./${file}${extname(import.meta.url)}`, import.meta.url);
  const worker = new Worker(code, {
    name: `flashllm ${name}`,
    resourceLimits,
    env: {},
    argv: [],
    // Compiled code gets none of this process's options; sources need the loader that they name.
    execArgv: code.pathname.endsWith('.ts') ? process.execArgv : [],
    trackUnmanagedFds: false,
  });
  worker.once('online', keepYoungGenerationSmall);
  return worker;
}
