/** Checkpoints for tests: copies of the fixtures with something changed, and large random ones. */

import {
  closeSync,
  copyFileSync,
  cpSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { storiesOpt, storiesOptBin } from './fixtures.ts';
import { headerOf, readSafetensors, type Tensors, writeSafetensors } from './safetensors.ts';

export type Config = Record<string, unknown>;

/** Name of the only weight file of the safetensors fixture. */
export const weightsFile = 'model.safetensors';
/** Name of the only weight file of the PyTorch fixture. */
export const pickleFile = 'pytorch_model.bin';

/** A copy of the float16 fixture. */
export function copyStories(dir: string): string {
  cpSync(storiesOpt, dir, { recursive: true });
  return dir;
}

/** A copy of the PyTorch fixture. */
export function copyStoriesBin(dir: string): string {
  cpSync(storiesOptBin, dir, { recursive: true });
  return dir;
}

/** A copy of the fixture's small files, for weights of one's own. */
export function copySideFiles(dir: string, config: Config = {}): string {
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json']) {
    copyFileSync(join(storiesOpt, name), join(dir, name));
  }
  return changeConfig(dir, config);
}

/** Sets fields of config.json; undefined removes one. */
export function changeConfig(dir: string, changes: Config): string {
  const path = join(dir, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8')) as Config;
  writeFileSync(path, JSON.stringify({ ...config, ...changes }, null, 1));
  return dir;
}

/** Rewrites the weights. */
export function changeTensors(dir: string, change: (tensors: Tensors) => void): string {
  const path = join(dir, weightsFile);
  const tensors = readSafetensors(path);
  change(tensors);
  writeSafetensors(path, tensors);
  return dir;
}

/** A copy of the float16 fixture whose likeliest tokens are the others' least likely ones. */
export function contraryStories(dir: string): string {
  return changeTensors(copyStories(dir), (tensors) => {
    for (const [name, { data }] of tensors) {
      if (!name.includes('final_layer_norm')) continue;
      // The sign of each value.
      for (let i = 1; i < data.length; i += 2) data[i] = (data[i] ?? 0) ^ 0x80;
    }
  });
}

/** Writes tensors as `count` safetensors shards with their index. */
export function writeShards(dir: string, tensors: Tensors, count: number): string[] {
  const entries = [...tensors];
  const weightMap: Record<string, string> = {};
  const names: string[] = [];
  for (let shard = 0; shard < count; shard++) {
    const number = (n: number) => String(n).padStart(5, '0');
    const name = `model-${number(shard + 1)}-of-${number(count)}.safetensors`;
    const at = (n: number) => Math.floor((entries.length * n) / count);
    const part = new Map(entries.slice(at(shard), at(shard + 1)));
    for (const tensor of part.keys()) weightMap[tensor] = name;
    writeSafetensors(join(dir, name), part);
    names.push(name);
  }
  const index = { metadata: {}, weight_map: weightMap };
  writeFileSync(join(dir, `${weightsFile}.index.json`), JSON.stringify(index));
  return names;
}

export interface Geometry {
  readonly hidden: number;
  readonly neurons: number;
  readonly layers: number;
}

/** Writes a checkpoint of random float16 weights, the same every time, as fast as a file is written. */
export function writeRandomOpt(dir: string, { hidden, neurons, layers }: Geometry): string {
  copySideFiles(dir, {
    hidden_size: hidden,
    word_embed_proj_dim: hidden,
    ffn_dim: neurons,
    num_hidden_layers: layers,
  });
  const vocab = 2048;
  const positions = 514;
  const shapes = new Map<string, readonly number[]>([
    ['embed_tokens.weight', [vocab, hidden]],
    ['embed_positions.weight', [positions, hidden]],
    ['final_layer_norm.weight', [hidden]],
    ['final_layer_norm.bias', [hidden]],
  ]);
  for (let layer = 0; layer < layers; layer++) {
    const add = (name: string, ...shape: number[]) => shapes.set(`layers.${layer}.${name}`, shape);
    for (const norm of ['self_attn_layer_norm', 'final_layer_norm']) {
      add(`${norm}.weight`, hidden);
      add(`${norm}.bias`, hidden);
    }
    for (const part of ['q_proj', 'k_proj', 'v_proj', 'out_proj']) {
      add(`self_attn.${part}.weight`, hidden, hidden);
      add(`self_attn.${part}.bias`, hidden);
    }
    add('fc1.weight', neurons, hidden);
    add('fc1.bias', neurons);
    add('fc2.weight', hidden, neurons);
    add('fc2.bias', hidden);
  }
  const tensors = new Map(
    [...shapes].map(([name, shape]) => {
      const length = 2 * shape.reduce((product, size) => product * size, 1);
      return [`model.decoder.${name}`, { dtype: 'F16', shape, data: { length } }];
    }),
  );
  const file = openSync(join(dir, weightsFile), 'w');
  try {
    writeSync(file, headerOf(tensors));
    const random = randomHalves(8 * 1024 * 1024);
    for (const { data } of tensors.values()) {
      for (let done = 0; done < data.length; done += random.length) {
        writeSync(file, random, 0, Math.min(random.length, data.length - done));
      }
    }
  } finally {
    closeSync(file);
  }
  return dir;
}

/** Float16 values between 2^-7 and 2^-5 of either sign; the same every time (xorshift). */
function randomHalves(bytes: number): Buffer {
  const words = new Uint32Array(bytes / 4);
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = (state & 0x87ff87ff) | 0x20002000;
  }
  return Buffer.from(words.buffer);
}
