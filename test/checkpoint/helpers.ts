/** What the tests of the checkpoint readers share: samples on disk and whole tensors in memory. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { SourceTensor, TensorSource } from '../../src/checkpoint/source.ts';
import { sourceDTypes } from '../../src/checkpoint/source-dtype.ts';
import { FlashError } from '../../src/errors.ts';

export const torchSamples = fileURLToPath(new URL('../../fixtures/torch/', import.meta.url));

/** A directory that is gone when the test is. */
export function temporaryDirectory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'flashllm-checkpoint-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function elementsOf(tensor: SourceTensor): number {
  return tensor.shape.reduce((product, size) => product * size, 1);
}

/** Elements [start, start + count), all by default. */
export async function readTensor(
  tensor: SourceTensor,
  start = 0,
  count = elementsOf(tensor) - start,
): Promise<Buffer> {
  const { dtype } = tensor;
  const bytes = Buffer.alloc(dtype === 'other' ? 0 : count * sourceDTypes[dtype].bytes);
  await tensor.read(start, count, bytes);
  return bytes;
}

export function tensorOf(source: TensorSource, name: string): SourceTensor {
  const tensor = source.tensors.get(name);
  if (tensor === undefined) throw new Error(`no tensor ${name} in ${[...source.tensors.keys()]}`);
  return tensor;
}

/** For `assert.rejects`: an error of exit code 2 whose line, place and hint included, matches. */
export function refusal(pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof FlashError) || error.exitCode !== 2) throw error;
    if (error.line.includes('\n')) throw new Error(`more than one line: ${error.line}`);
    if (!pattern.test(error.line)) throw new Error(`${error.line}\ndoes not match ${pattern}`);
    return true;
  };
}

/** A safetensors file from its parts. */
export function safetensorsBytes(header: unknown, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

/** Writes tensors of dtype f32, one dimension each. */
export function writeSafetensors(path: string, tensors: Readonly<Record<string, number[]>>): void {
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const [name, values] of Object.entries(tensors)) {
    const begin = end;
    end += values.length * 4;
    header[name] = { dtype: 'F32', shape: [values.length], data_offsets: [begin, end] };
  }
  const data = new Float32Array(Object.values(tensors).flat());
  writeFileSync(path, safetensorsBytes(header, new Uint8Array(data.buffer)));
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
