/**
 * WebAssembly memories. They are page aligned, which direct reads need and Buffers are not; those that hold
 * a model are shared with kernels and threads.
 */

import { addressLimit } from './address-space.ts';
import { FlashError } from './errors.ts';
import { formatBytes } from './units.ts';

/** Bytes of a WebAssembly page. */
export const pageBytes = 65536;
/** The largest size of a WebAssembly memory: 4 GiB. */
export const maxMemoryBytes = 65536 * pageBytes;

/**
 * A memory of `bytes`, rounded up to whole pages, for reads that need aligned addresses. It never grows, so
 * no address space is reserved for growth.
 */
export function createBuffer(bytes: number): WebAssembly.Memory {
  return allocate(Math.ceil(bytes / pageBytes), false);
}

/**
 * A shared memory of `bytes`, rounded up to whole pages. It never grows: addresses and views stay
 * valid. Pages that are never touched cost no resident memory.
 */
export function createMemory(bytes: number): WebAssembly.Memory {
  const pages = Math.max(1, Math.ceil(bytes / pageBytes));
  if (!(pages * pageBytes <= maxMemoryBytes)) {
    throw new FlashError(`a WebAssembly memory of ${bytes} bytes is more than 4 GiB`);
  }
  return allocate(pages, true);
}

function allocate(pages: number, shared: boolean): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
  } catch (cause) {
    const limit = addressLimit();
    const size = formatBytes(pages * pageBytes);
    throw new FlashError(
      limit === null
        ? `the system refuses to reserve ${size} of memory`
        : `the system refuses to reserve ${size} of memory: ${limit.name} is limited to ${formatBytes(limit.limit)}, of which ${formatBytes(limit.left)} are left`,
      {},
      limit === null
        ? 'Give a smaller --dram-budget'
        : 'Raise the limit, or start Node with --disable-wasm-trap-handler: then a memory reserves only as much address space as it has bytes',
      { cause },
    );
  }
}
