/**
 * A memory for random calls of kernels: whatever they read lies below `out`, what they write above,
 * scratch behind that.
 */

import type { Kernels } from '../../src/kernels/kernels.ts';
import { threadScratchBytes } from '../../src/kernels/threads/pool.ts';
import type { Random } from './support.ts';

const inputBytes = 1 << 20;
export const outputBytes = 1 << 20;
export const scratchAddress = inputBytes + outputBytes;
export const bytesPerThread = threadScratchBytes({ cols: 300, context: 300 });
/** More than the two cores of a small machine can run at once. */
export const mostThreads = 5;
export const memoryBytes = scratchAddress + mostThreads * bytesPerThread;

/** Fills the input with finite numbers in every format, the rest with NaN. */
export function fill(memory: WebAssembly.Memory, random: Random): void {
  const pattern = Uint32Array.from({ length: 5003 }, () => {
    // Exponents 0x3c to 0x40 of both halves: small numbers as f16, bf16 and f32.
    const low = 0x3c00 + random.below(0x400) + random.below(2) * 0x8000;
    return (low | ((0x3c00 + random.below(0x400)) << 16) | (random.below(2) << 31)) >>> 0;
  });
  const words = new Uint32Array(memory.buffer);
  for (let at = 0; at < inputBytes / 4; at += pattern.length) words.set(pattern, at);
  words.fill(0xffffffff, inputBytes / 4);
}

/** One random call of a kernel, to be made with different kernels on equal memories. */
export type Call = (kernels: Kernels, memory: WebAssembly.Memory) => unknown;
export type MakeCall = (random: Random) => Call;

const inputs = 65536;
export const [a, b, c, e] = [1, 2, 3, 5].map((i) => i * inputs) as [number, number, number, number];
/** Behind everything else that is read. */
export const rowsAddress = 12 * inputs;
export const out = inputBytes;
export const out2 = inputBytes + outputBytes / 2;
/** Small counts, and larger ones, at random. */
export const size = (random: Random, most: number) =>
  random.below(random.below(3) === 0 ? 4 : most + 1);
export const oneOf = (random: Random, ...values: number[]) =>
  values[random.below(values.length)] ?? 0;
