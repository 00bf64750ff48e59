/**
 * Loads the compute core: compile the module once, create a memory, and instantiate the module over it. A
 * module and a shared memory can be posted to workers, which instantiate the module themselves.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { FlashError, InputError } from '../errors.ts';
import { bindKernels, instantiateCore } from './bind.ts';
import type { Kernels } from './kernels.ts';

/**
 * The core is built twice from the same sources: with the SIMD instructions that every Node has, and with
 * relaxed SIMD, whose multiply-add rounds once instead of twice and is faster. Results of one build differ
 * from the other's in the last bits.
 */
const coreFiles = {
  plain: 'flashllm.wasm',
  relaxed: 'flashllm.relaxed.wasm',
} as const;
export type CoreBuild = keyof typeof coreFiles;
export const coreBuilds = Object.keys(coreFiles) as readonly CoreBuild[];

/** A module with one function: f32x4.relaxed_madd of three zero vectors. */
const relaxedProbe = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // magic, version
  ...[0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b], // type: () -> v128
  ...[0x03, 0x02, 0x01, 0x00], // function of this type
  ...[0x0a, 0x13, 0x01, 0x11, 0x00], // code: no locals
  ...[0x41, 0x00, 0xfd, 0x11], // i32x4.splat(0)
  ...[0x41, 0x00, 0xfd, 0x11],
  ...[0x41, 0x00, 0xfd, 0x11],
  ...[0xfd, 0x85, 0x02, 0x0b], // relaxed_madd, end
]);

// Node 20 and 21 have the instructions behind a flag, which later versions no longer know. The flag applies
// from the next module on that is validated or compiled. It gives 8.9 instead of 6.0 GB/s in f16.
if (/^v2[01]\./.test(process.version)) setFlagsFromString('--experimental-wasm-relaxed-simd');

/** Whether this Node runs a build. */
export function runsBuild(build: CoreBuild): boolean {
  return build === 'plain' || WebAssembly.validate(relaxedProbe);
}

/** The build that this process uses: the fastest one that runs, or the one that FLASHLLM_CORE names. */
export function chooseBuild(): CoreBuild {
  const wanted = process.env.FLASHLLM_CORE;
  const named = coreBuilds.find((build) => build === wanted);
  if (named !== undefined && runsBuild(named)) return named;
  if (wanted !== undefined && wanted !== '') {
    throw new InputError(
      named === undefined
        ? `FLASHLLM_CORE is '${wanted}', not ${coreBuilds.join(' or ')}`
        : `this Node does not run the ${named} build of the core, which FLASHLLM_CORE asks for`,
    );
  }
  return runsBuild('relaxed') ? 'relaxed' : 'plain';
}

/** Compiles the core; about 10 ms. */
export async function compileCore(build = chooseBuild()): Promise<WebAssembly.Module> {
  // The path is the same from src/kernels and from dist/kernels.
  const file = fileURLToPath(new URL(`../../build/${coreFiles[build]}`, import.meta.url));
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new FlashError('the compute core cannot be read', { file }, 'Run "npm run build"', {
      cause,
    });
  }
  return WebAssembly.compile(bytes);
}

/** The kernels over `memory`, from the module compiled before, or from one compiled now. */
export async function instantiateKernels(
  memory: WebAssembly.Memory,
  module?: WebAssembly.Module,
): Promise<Kernels> {
  return bindKernels(instantiateCore(module ?? (await compileCore()), memory));
}
