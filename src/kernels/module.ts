/**
 * Getting at the compute core: compile the module once, make a memory, instantiate the one over the
 * other. A module and a shared memory can be posted to workers, which instantiate for themselves.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { FlashError } from '../errors.ts';
import { bindKernels, type Kernels } from './kernels.ts';

/** Bytes of a WebAssembly page. */
export const pageBytes = 65536;
/** A WebAssembly memory cannot be larger: 4 GiB. */
export const maxMemoryBytes = 65536 * pageBytes;

/** The same from src/kernels and from dist/kernels. */
const coreUrl = new URL('../../build/flashllm.wasm', import.meta.url);

/** Compiles the core; about 10 ms. */
export async function compileCore(): Promise<WebAssembly.Module> {
  const file = fileURLToPath(coreUrl);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new FlashError(
      'the compute core cannot be read',
      { file },
      'Run "npm run build" to make it',
      { cause },
    );
  }
  return WebAssembly.compile(bytes);
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
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}

/** The kernels over `memory`, from the module compiled before, or from one compiled now. */
export async function instantiateKernels(
  memory: WebAssembly.Memory,
  module?: WebAssembly.Module,
): Promise<Kernels> {
  const instance = new WebAssembly.Instance(module ?? (await compileCore()), { env: { memory } });
  return bindKernels(instance.exports);
}
