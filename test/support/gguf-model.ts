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
  /** Of Qwen3 in place of Llama: experts in every layer but the first. */
  readonly experts?: { readonly count: number; readonly topK: number; readonly neurons: number };
  /** Of a tensor by its name in the file; null: it is not in the file. */
  readonly typeOf: (name: string) => string | null;
}

/** A matrix, or several stacked ones. */
type Shape = [name: string, rows: number, columns: number, more?: readonly number[]];

/** Writes the file into `dir`, the same for the same seed, and returns its path. */
export function writeBlockGguf(dir: string, model: BlockModel, seed = 1): string {
  const { hidden, layers, heads, kvHeads, ffn, vocab, experts } = model;
  const headDim = hidden / heads;
  const dice = new Dice(seed);
  /** The matrices of one FFN, or of all experts. */
  const ffnOf = (name: string, rows: number, more: readonly number[] = []): Shape[] => [
    [`ffn_gate${name}.weight`, rows, hidden, more],
    [`ffn_up${name}.weight`, rows, hidden, more],
    [`ffn_down${name}.weight`, hidden, rows, more],
  ];
  const ffnsOf = (layer: number): Shape[] =>
    experts === undefined || layer === 0
      ? ffnOf('', ffn)
      : [
          ['ffn_gate_inp.weight', experts.count, hidden],
          ...ffnOf('_exps', experts.neurons, [experts.count]),
        ];
  const shapes: Shape[] = [
    ['token_embd.weight', vocab, hidden],
    ['output.weight', vocab, hidden],
    ...Array.from({ length: layers }, (_, layer): Shape[] => [
      [`blk.${layer}.attn_q.weight`, hidden, hidden],
      [`blk.${layer}.attn_k.weight`, kvHeads * headDim, hidden],
      [`blk.${layer}.attn_v.weight`, kvHeads * headDim, hidden],
      [`blk.${layer}.attn_output.weight`, hidden, hidden],
      ...ffnsOf(layer).map(([name, ...size]): Shape => [`blk.${layer}.${name}`, ...size]),
    ]).flat(),
  ];
  const normsOf: readonly [string, number][] = [
    ['attn_norm', hidden],
    ['ffn_norm', hidden],
    ...(experts === undefined ? [] : (['attn_q_norm', 'attn_k_norm'] as const)).map(
      (name): [string, number] => [name, headDim],
    ),
  ];
  const norms: readonly [string, number][] = [
    ['output_norm.weight', hidden],
    ...Array.from({ length: layers }, (_, layer) =>
      normsOf.map(([name, width]): [string, number] => [`blk.${layer}.${name}.weight`, width]),
    ).flat(),
  ];
  const tensors = [
    ...shapes.flatMap(([name, rows, columns, more = []]): GgufTensorParts[] => {
      const type = model.typeOf(name);
      if (type === null) return [];
      const all = more.reduce((product, size) => product * size, rows);
      const { code, data } = matrix(type, all, columns, dice);
      return [{ name, sizes: [columns, rows, ...more], type: code, data }];
    }),
    ...norms.map(([name, width]): GgufTensorParts => {
      const data = Buffer.from(
        Float32Array.from({ length: width }, () => 0.8 + 0.4 * dice.next()).buffer,
      );
      return { name, sizes: [width], type: 0, data };
    }),
  ];
  const path = join(dir, 'model.gguf');
  const architecture = experts === undefined ? 'llama' : 'qwen3moe';
  const keys: [string, Buffer][] = [
    ['block_count', value.u32(layers)],
    ['context_length', value.u32(512)],
    ['embedding_length', value.u32(hidden)],
    ['feed_forward_length', value.u32(ffn)],
    ['attention.head_count', value.u32(heads)],
    ['attention.head_count_kv', value.u32(kvHeads)],
    ['attention.layer_norm_rms_epsilon', value.f32(1e-5)],
  ];
  if (experts !== undefined) {
    keys.push(
      ['expert_count', value.u32(experts.count)],
      ['expert_used_count', value.u32(experts.topK)],
      ['expert_feed_forward_length', value.u32(experts.neurons)],
    );
  }
  const metadata = modelMetadata(architecture, keys, 'llama');
  writeFileSync(path, ggufBytes({ metadata, tensors }));
  return path;
}

/**
 * Metadata of a model.
 * @param keys without the architecture
 * @param tokenizer the folder in fixtures/gguf whose tokenizer it has
 */
export function modelMetadata(
  architecture: string,
  keys: readonly (readonly [string, Buffer])[],
  tokenizer: string,
): [string, Buffer][] {
  const { metadata } = parseGguf(readFileSync(join(ggufFixtures, tokenizer, 'model.gguf')));
  return [
    ['general.architecture', value.text(architecture)],
    ...keys.map(([key, bytes]): [string, Buffer] => [`${architecture}.${key}`, bytes]),
    ...metadata.filter(([key]) => key.startsWith('tokenizer.')),
  ];
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
