/** A small model, whole in memory. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromF16 } from './halfs.ts';
import type { OptGeometry } from './opt.ts';

/** A small model in memory, as f32. */
export interface SmallModel {
  readonly geometry: OptGeometry;
  /** By name without prefix. */
  readonly tensors: ReadonlyMap<string, Float32Array>;
}

/** Reads an OPT directory with one f16 safetensors file. */
export function readSmall(dir: string): SmallModel {
  const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')) as Record<
    string,
    number
  >;
  const file = readFileSync(join(dir, 'model.safetensors'));
  const data = 8 + Number(file.readBigUInt64LE());
  const header = JSON.parse(file.subarray(8, data).toString()) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Float32Array>();
  for (const [name, { dtype, data_offsets: offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    if (dtype !== 'F16') throw new Error(`${name} is ${dtype}, not F16`);
    const [begin, end] = offsets;
    const values = Float32Array.from({ length: (end - begin) / 2 }, (_, i) =>
      fromF16(file.readUInt16LE(data + begin + 2 * i)),
    );
    tensors.set(name.replace(/^model\.decoder\./, ''), values);
  }
  const number = (key: string) => config[key] ?? Number.NaN;
  return {
    geometry: {
      hidden: number('hidden_size'),
      layers: number('num_hidden_layers'),
      heads: number('num_attention_heads'),
      ffn: number('ffn_dim'),
      vocab: number('vocab_size'),
      positions: number('max_position_embeddings'),
    },
    tensors,
  };
}
