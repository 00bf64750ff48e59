/** What tests change in a copy of the Llama fixture, and what they say of it. */

import { cpSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { changeConfig, changeTensors, weightsFile, writeShards } from '../support/checkpoint.ts';
import { familyFixture } from '../support/fixtures.ts';
import { readSafetensors, type Tensor, type Tensors } from '../support/safetensors.ts';

/** A copy of the Llama fixture that `change` has been at. */
export interface Oddity {
  readonly name: string;
  readonly change: (dir: string) => void;
  /** `same` as the fixture, tensor by tensor; `runs` otherwise; or what it is refused with. */
  readonly becomes: 'same' | 'runs' | RegExp;
  /** What is said of it besides. */
  readonly note?: RegExp;
}

export const plain = familyFixture('llama');

export function makeOdd(dir: string, { change }: Oddity): string {
  cpSync(plain, dir, { recursive: true });
  change(dir);
  return dir;
}

export const layer = 'model.layers.0.self_attn';
export const indexFile = `${weightsFile}.index.json`;

export const zeros = (dtype: string, shape: readonly number[], elementBytes: number): Tensor => {
  const elements = shape.reduce((product, size) => product * size, 1);
  return { dtype, shape, data: Buffer.alloc(elements * elementBytes) };
};

export const tensors = (change: (all: Tensors) => void) => (dir: string) => {
  changeTensors(dir, change);
};
export const adding = (...more: readonly (readonly [string, Tensor])[]) =>
  tensors((all) => {
    for (const [name, tensor] of more) all.set(name, tensor);
  });
export const config = (changes: Record<string, unknown>) => (dir: string) => {
  changeConfig(dir, changes);
};

export function replaceText(path: string, from: string, to: string): void {
  const text = readFileSync(path, 'latin1');
  if (!text.includes(from)) throw new Error(`${path} has no ${from}`);
  writeFileSync(path, text.replace(from, to), 'latin1');
}

/** config.json with `text` as its first field. */
export const configText = (text: string) => (dir: string) =>
  replaceText(join(dir, 'config.json'), '{', `{${text},`);

/** The weights in two shards; `more` goes into the index. */
export function shard(dir: string, more: Record<string, string> = {}): readonly [string, string] {
  const path = join(dir, weightsFile);
  const [first = '', second = ''] = writeShards(dir, readSafetensors(path), 2);
  rmSync(path);
  changeIndex(dir, (map) => Object.assign(map, more));
  return [first, second];
}

export function changeIndex(dir: string, change: (map: Record<string, string>) => void): void {
  const path = join(dir, indexFile);
  const index = JSON.parse(readFileSync(path, 'utf8')) as { weight_map: Record<string, string> };
  change(index.weight_map);
  writeFileSync(path, JSON.stringify(index));
}

/** Puts tensors into a shard. */
export function changeShard(dir: string, name: string, change: (all: Tensors) => void): void {
  renameSync(join(dir, name), join(dir, weightsFile));
  changeTensors(dir, change);
  renameSync(join(dir, weightsFile), join(dir, name));
}

export const anyProjection = `${layer}.q_proj.weight`;
/** What quantised checkpoints have in the place of each projection. */
export const packed = (suffixes: Readonly<Record<string, Tensor>>) =>
  tensors((all) => {
    for (const name of [...all.keys()].filter((key) => key.endsWith('_proj.weight'))) {
      all.delete(name);
      for (const [suffix, tensor] of Object.entries(suffixes)) {
        all.set(name.replace(/\.weight$/, suffix), tensor);
      }
    }
  });
export const i32 = zeros('I32', [4, 4], 4);
export const u8 = zeros('U8', [16, 1], 1);
export const file = (name: string, content: unknown) => (dir: string) =>
  writeFileSync(join(dir, name), JSON.stringify(content));
export const all =
  (...changes: readonly ((dir: string) => void)[]) =>
  (dir: string) => {
    for (const change of changes) change(dir);
  };
export const method = (quant_method: unknown) => config({ quantization_config: { quant_method } });
