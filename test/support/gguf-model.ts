/** GGUF files of Llama's geometry with random blocks, each tensor in a format of its own. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseGguf } from '../../scripts/fuzz/gguf-document.ts';
import { ggmlTypes } from '../../src/checkpoint/gguf/ggml-types.ts';
import { ggufDTypes } from '../../src/dtype.ts';
import { halvesAt } from '../kernels/gguf-blocks.ts';
import { toF16 } from './dtypes.ts';
import { ggufFixtures } from './fixtures.ts';
import { type GgufTensorParts, ggufBytes, value } from './gguf.ts';
import { Dice } from './random.ts';

/** Names of element types as GGUF's documentation writes them: `Q4_K`, `F16`. */
export interface BlockModel {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly ffn: number;
  readonly vocab: number;
  /** Of a tensor by its name in the file; null: it is not in the file. */
  readonly typeOf: (name: string) => string | null;
}

/** Writes the file into `dir`, the same for the same seed, and returns its path. */
export function writeBlockGguf(dir: string, model: BlockModel, seed = 1): string {
  const { hidden, layers, heads, kvHeads, ffn, vocab } = model;
  const headDim = hidden / heads;
  const dice = new Dice(seed);
  const shapes: [name: string, rows: number, columns: number][] = [
    ['token_embd.weight', vocab, hidden],
    ['output.weight', vocab, hidden],
    ...Array.from({ length: layers }, (_, layer): [string, number, number][] => [
      [`blk.${layer}.attn_q.weight`, hidden, hidden],
      [`blk.${layer}.attn_k.weight`, kvHeads * headDim, hidden],
      [`blk.${layer}.attn_v.weight`, kvHeads * headDim, hidden],
      [`blk.${layer}.attn_output.weight`, hidden, hidden],
      [`blk.${layer}.ffn_gate.weight`, ffn, hidden],
      [`blk.${layer}.ffn_up.weight`, ffn, hidden],
      [`blk.${layer}.ffn_down.weight`, hidden, ffn],
    ]).flat(),
  ];
  const norms = [
    'output_norm.weight',
    ...Array.from({ length: layers }, (_, layer) =>
      ['attn_norm', 'ffn_norm'].map((name) => `blk.${layer}.${name}.weight`),
    ).flat(),
  ];
  const tensors = [
    ...shapes.flatMap(([name, rows, columns]): GgufTensorParts[] => {
      const type = model.typeOf(name);
      if (type === null) return [];
      const { code, data } = matrix(type, rows, columns, dice);
      return [{ name, sizes: [columns, rows], type: code, data }];
    }),
    ...norms.map((name): GgufTensorParts => {
      const data = Buffer.from(
        Float32Array.from({ length: hidden }, () => 0.8 + 0.4 * dice.next()).buffer,
      );
      return { name, sizes: [hidden], type: 0, data };
    }),
  ];
  const path = join(dir, 'model.gguf');
  const tokenizer = parseGguf(readFileSync(join(ggufFixtures, 'llama', 'model.gguf'))).metadata;
  const metadata: [string, Buffer][] = [
    ['general.architecture', value.text('llama')],
    ['llama.block_count', value.u32(layers)],
    ['llama.context_length', value.u32(512)],
    ['llama.embedding_length', value.u32(hidden)],
    ['llama.feed_forward_length', value.u32(ffn)],
    ['llama.attention.head_count', value.u32(heads)],
    ['llama.attention.head_count_kv', value.u32(kvHeads)],
    ['llama.attention.layer_norm_rms_epsilon', value.f32(1e-5)],
    ...tokenizer.filter(([key]) => key.startsWith('tokenizer.')),
  ];
  writeFileSync(path, ggufBytes({ metadata, tensors }));
  return path;
}

/** Random rows of a type, their values about as large as keeps activations near 1. */
function matrix(name: string, rows: number, columns: number, dice: Dice) {
  const [code, type] = [...ggmlTypes].find(([, { name: known }]) => known === name) ?? [];
  if (code === undefined || type === undefined) throw new Error(`no type ${name}`);
  const { blockElements, blockBytes, dequantise } = type;
  const spread = 1.5 / Math.sqrt(columns);
  const data = Buffer.alloc((rows * columns * blockBytes) / blockElements);
  if (name === 'F32') {
    for (let at = 0; at < data.length; at += 4)
      data.writeFloatLE((2 * dice.next() - 1) * spread, at);
    return { code, data };
  }
  if (name === 'F16') {
    for (let at = 0; at < data.length; at += 2) {
      data.writeUInt16LE(toF16((2 * dice.next() - 1) * spread), at);
    }
    return { code, data };
  }
  const format = ggufDTypes.find((known) => known === name.toLowerCase());
  if (dequantise === null || format === undefined) throw new Error(`no random blocks of ${name}`);
  const values = new Float32Array(blockElements);
  for (let at = 0; at < data.length; at += blockBytes) {
    for (let i = 0; i < blockBytes; i++) data[at + i] = dice.between(0, 255);
    const setScale = (scale: number) => {
      for (const half of halvesAt[format]) data.writeUInt16LE(toF16(scale), at + half);
      if (name === 'MXFP4') data[at] = 127 + Math.round(Math.log2(Math.abs(scale)));
    };
    setScale(1);
    dequantise(data, at, 1, values, 0);
    const square = values.reduce((sum, each) => sum + each * each, 0) / blockElements;
    setScale((spread / Math.sqrt(3 * square)) * (dice.next() < 0.5 ? -1 : 1));
  }
  return { code, data };
}
