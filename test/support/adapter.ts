/** LoRA adapters for tests: copies of the fixtures with something changed. */

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Adaptation } from '../../src/convert/adaptation.ts';
import type { Checkpoint } from '../../src/convert/checkpoint.ts';
import { type Examination, examineCheckpoint } from '../../src/convert/examine.ts';
import { loraFixture } from './fixtures.ts';
import { readSafetensors, type Tensor, type Tensors, writeSafetensors } from './safetensors.ts';

export const adapterConfig = 'adapter_config.json';
export const adapterWeights = 'adapter_model.safetensors';

/** Copies the adapter `name` of the fixtures to the directory `dir`. */
export function copyAdapter(name: string, dir: string): string {
  for (const file of [adapterConfig, adapterWeights]) {
    cpSync(join(loraFixture(name), file), join(dir, file));
  }
  return dir;
}

/** Sets fields of adapter_config.json; undefined removes one. */
export function changeAdapterConfig(dir: string, changes: Record<string, unknown>): string {
  const path = join(dir, adapterConfig);
  const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...config, ...changes }));
  return dir;
}

/** Rewrites the weights. */
export function changeAdapterTensors(dir: string, change: (tensors: Tensors) => void): string {
  const path = join(dir, adapterWeights);
  const tensors = readSafetensors(path);
  change(tensors);
  writeSafetensors(path, tensors);
  return dir;
}

/** An f32 tensor of zeros. */
export function zeros(...shape: number[]): Tensor {
  const elements = shape.reduce((product, size) => product * size, 1);
  return { dtype: 'F32', shape, data: Buffer.alloc(4 * elements) };
}

export type Adapted = Checkpoint & Pick<Examination, 'adapters'>;

/**
 * A checkpoint as `convert` would read it, with `asked` done to it; close its source when done.
 * @throws what keeps it from being converted, its tokenizer apart: not every fixture has one
 */
export async function openAdapted(path: string, asked: Adaptation): Promise<Adapted> {
  const { checkpoint, adapters, problems, close } = await examineCheckpoint(path, asked);
  const problem = problems.find(({ message }) => !message.startsWith('no tokenizer'));
  if (checkpoint !== null && problem === undefined) {
    return { ...checkpoint, adapters, source: { ...checkpoint.source, close } };
  }
  await close();
  throw problem ?? new Error(`${path} cannot be opened`);
}
