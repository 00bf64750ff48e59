/** Threads and kernels over one memory in one step, as most of the tests want them. */

import type { Kernels } from '../../src/kernels/kernels.ts';
import { ComputeThreads, type KernelsOptions } from '../../src/kernels/threads/pool.ts';

export interface ThreadedKernels extends Kernels {
  readonly threads: number;
  /** Ends the workers; no kernel may be called any more. */
  readonly close: () => Promise<void>;
}

export async function createThreadedKernels(
  memory: WebAssembly.Memory,
  threads: number,
  options: KernelsOptions = {},
): Promise<ThreadedKernels> {
  const pool = await ComputeThreads.start(threads);
  try {
    const kernels = await pool.kernels(memory, options);
    return { ...kernels, threads, close: () => pool.close() };
  } catch (error) {
    await pool.close();
    throw error;
  }
}
