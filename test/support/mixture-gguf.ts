/** The tiny mixtures of experts in `fixtures/families` as GGUF files. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type GgufTensorParts, ggufBytes, value } from './gguf.ts';
import { modelMetadata } from './gguf-model.ts';
import { readSafetensors, type Tensor, type Tensors } from './safetensors.ts';

/** GGUF's names, by those of the checkpoint; what stands behind the pattern stays. */
const names: readonly (readonly [RegExp, string])[] = [
  [/^model\.embed_tokens/, 'token_embd'],
  [/^model\.norm/, 'output_norm'],
  [/^lm_head/, 'output'],
  [/^rope_factors_/, 'rope_factors_'],
  [/^model\.layers\.(\d+)\.input_layernorm/, 'blk.$1.attn_norm'],
  [/^model\.layers\.(\d+)\.post_attention_layernorm/, 'blk.$1.ffn_norm'],
  [/^model\.layers\.(\d+)\.self_attn\.([qkv])_proj/, 'blk.$1.attn_$2'],
  [/^model\.layers\.(\d+)\.self_attn\.o_proj/, 'blk.$1.attn_output'],
  [/^model\.layers\.(\d+)\.self_attn\.(q_a|q_b|kv_b|k_b|v_b)_proj/, 'blk.$1.attn_$2'],
  [/^model\.layers\.(\d+)\.self_attn\.(q_a|kv_a)_layernorm/, 'blk.$1.attn_$2_norm'],
  [/^model\.layers\.(\d+)\.self_attn\.kv_a_proj_with_mqa/, 'blk.$1.attn_kv_a_mqa'],
  [
    /^model\.layers\.(\d+)\.mlp\.(gate|moe_statics)\.e_score_correction_bias$/,
    'blk.$1.exp_probs_b.bias',
  ],
  [/^model\.layers\.(\d+)\.self_attn\.([qk])_norm/, 'blk.$1.attn_$2_norm'],
  [/^model\.layers\.(\d+)\.self_attn\.sinks$/, 'blk.$1.attn_sinks.weight'],
  [
    /^model\.layers\.(\d+)\.(mlp|block_sparse_moe)\.(gate|router(\.layer)?)\./,
    'blk.$1.ffn_gate_inp.',
  ],
  [/^model\.layers\.(\d+)\.mlp\.(\w+)_proj\./, 'blk.$1.ffn_$2.'],
  [/^model\.layers\.(\d+)\.mlp\.experts\.(\w+)_proj/, 'blk.$1.ffn_$2_exps'],
  [/^model\.layers\.(\d+)\.block_sparse_moe\.experts\.w1/, 'blk.$1.ffn_gate_exps'],
  [/^model\.layers\.(\d+)\.block_sparse_moe\.experts\.w2/, 'blk.$1.ffn_down_exps'],
  [/^model\.layers\.(\d+)\.block_sparse_moe\.experts\.w3/, 'blk.$1.ffn_up_exps'],
  [/^model\.layers\.(\d+)\.block_sparse_moe\.primary_router/, 'blk.$1.ffn_gate_inp'],
  [/^model\.layers\.(\d+)\.block_sparse_moe\.experts\.(gate|up|down)/, 'blk.$1.ffn_$2_exps'],
  [/^model\.layers\.(\d+)\.mlp\.shared_experts?\.(\w+)_proj/, 'blk.$1.ffn_$2_shexp'],
  [/^model\.layers\.(\d+)\.mlp\.shared_expert_gate/, 'blk.$1.ffn_gate_inp_shexp'],
];

/** ggml's codes. */
const types: Readonly<Record<string, number>> = { F32: 0, F16: 1, BF16: 30, MXFP4: 39 };

export interface MixtureGguf {
  readonly architecture: string;
  /** Besides what all have, or in place of it; without the architecture. */
  readonly keys?: Readonly<Record<string, Buffer>>;
  /** What the file has in place of the checkpoint's tensors. */
  readonly prepare?: (tensors: Tensors) => Tensors;
  /** The norm before the FFN. */
  readonly ffnNorm?: string;
}

/** Writes the checkpoint in `dir` as `path`; experts that are apart become one tensor. */
export function writeMixtureGguf(path: string, dir: string, mixture: MixtureGguf): void {
  const { architecture, keys = {}, prepare = (same) => same, ffnNorm = 'ffn_norm' } = mixture;
  const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')) as Record<
    string,
    number
  >;
  const number = (...known: readonly string[]) =>
    value.u32(known.map((key) => config[key]).find((found) => found !== undefined) ?? 0);
  const stacked = new Map<string, Tensor[]>();
  for (const [name, tensor] of prepare(readSafetensors(join(dir, 'model.safetensors')))) {
    // Those of a layer come in the order of their names: by the numbers' digits.
    const [, before = name, expert, after = ''] = /^(.*\.experts)\.(\d+)(\..*)$/.exec(name) ?? [];
    const all = stacked.get(before + after) ?? [];
    all[Number(expert ?? 0)] = tensor;
    stacked.set(before + after, all);
  }
  const tensors = [...stacked].map(([name, parts]): GgufTensorParts => {
    const [first] = parts;
    const shape = [...(first?.shape ?? [])].reverse();
    const sizes = parts.length > 1 ? [...shape, parts.length] : shape;
    const type = types[first?.dtype ?? ''];
    assert.ok(type !== undefined, name);
    const own = ggufName(name).replace('.ffn_norm', `.${ffnNorm}`);
    return { name: own, sizes, type, data: Buffer.concat(parts.map((p) => p.data)) };
  });
  const own: Record<string, Buffer> = {
    block_count: number('num_hidden_layers'),
    context_length: number('max_position_embeddings'),
    embedding_length: number('hidden_size'),
    feed_forward_length: number('moe_ffn_hidden_size', 'intermediate_size'),
    'attention.head_count': number('num_attention_heads'),
    'attention.head_count_kv': number('num_key_value_heads'),
    'attention.layer_norm_rms_epsilon': value.f32(config.rms_norm_eps ?? 0),
    'rope.freq_base': value.f32(config.rope_theta ?? 10_000),
    expert_count: number(
      ...['num_local_experts', 'num_experts', 'n_routed_experts', 'moe_num_primary_experts'],
    ),
    expert_used_count: number('num_experts_per_tok', 'moe_num_active_primary_experts'),
    expert_feed_forward_length: number(
      ...['moe_intermediate_size', 'moe_ffn_hidden_size', 'intermediate_size'],
    ),
    ...keys,
  };
  const metadata = modelMetadata(architecture, Object.entries(own), 'qwen3');
  writeFileSync(path, ggufBytes({ metadata, tensors }));
}

function ggufName(name: string): string {
  const [from, to] = names.find(([pattern]) => pattern.test(name)) ?? [];
  assert.ok(from !== undefined && to !== undefined, name);
  return name.replace(from, to);
}

/** `count` rows of a tensor that has `all`, in another order: row r of the result is row `sourceOf(r)`. */
function rowsInOrder(
  { dtype, data }: Tensor,
  all: number,
  shape: readonly [count: number, ...rest: number[]],
  sourceOf: (row: number) => number,
): Tensor {
  const rowBytes = data.length / all;
  const [count] = shape;
  const parts = Array.from({ length: count }, (_, row) =>
    data.subarray(sourceOf(row) * rowBytes, (sourceOf(row) + 1) * rowBytes),
  );
  return { dtype, shape, data: Buffer.concat(parts) };
}

/** Queries and keys with rotary pairs side by side, as files of Llama and its next relatives have them. */
export function withPairs(tensors: Tensors, headDim: number): Tensors {
  const half = headDim / 2;
  const sourceOf = (row: number) => {
    const within = row % headDim;
    return row - within + (within >> 1) + (within % 2) * half;
  };
  return new Map(
    [...tensors].map(([name, tensor]) => {
      if (!/\.[qk]_proj\.weight$/.test(name)) return [name, tensor];
      const [rows = 0, columns = 0] = tensor.shape;
      return [name, rowsInOrder(tensor, rows, [rows, columns], sourceOf)];
    }),
  );
}

/** The fused experts of Granite, and the FFN beside them, with gate and up rows apart. */
export function withGraniteApart(tensors: Tensors): Tensors {
  const made: Tensors = new Map();
  for (const [name, tensor] of tensors) {
    const beside = (part: string) =>
      name.replace(/shared_mlp\..*$/, `mlp.shared_expert.${part}_proj.weight`);
    if (name.endsWith('shared_mlp.output_linear.weight')) {
      made.set(beside('down'), tensor);
      continue;
    }
    if (name.endsWith('shared_mlp.input_linear.weight')) {
      const [both = 0, columns = 0] = tensor.shape;
      const rows = (first: number) =>
        rowsInOrder(tensor, both, [both / 2, columns], (row) => first + row);
      made.set(beside('gate'), rows(0)).set(beside('up'), rows(both / 2));
      continue;
    }
    const [count = 0, both = 0, columns = 0] = tensor.shape;
    const to = (part: string) =>
      name.replace(/block_sparse_moe\..*$/, `mlp.experts.${part}_proj.weight`);
    if (name.endsWith('output_linear.weight')) made.set(to('down'), tensor);
    else if (name.endsWith('input_linear.weight')) {
      const half = both / 2;
      for (const [index, part] of ['gate', 'up'].entries()) {
        const sourceOf = (row: number) =>
          Math.floor(row / half) * both + index * half + (row % half);
        const rows = rowsInOrder(tensor, count * both, [count * half, columns], sourceOf);
        made.set(to(part), { ...rows, shape: [count, half, columns] });
      }
    } else made.set(name, tensor);
  }
  return made;
}

/** Widths of attention that makes keys and values of latent vectors. */
interface LatentWidths {
  readonly heads: number;
  readonly own: number;
  readonly value: number;
  readonly rank: number;
}

/**
 * What makes keys and values of latent vectors in two, as newer files of DeepSeek have it: keys (heads, rank,
 * own), values (heads, value, rank). Values of 16 bits.
 */
export function withKeysApart(
  tensors: Tensors,
  { heads, own, value: width, rank }: LatentWidths,
): Tensors {
  const made: Tensors = new Map();
  for (const [name, tensor] of tensors) {
    if (!name.endsWith('kv_b_proj.weight')) {
      made.set(name, tensor);
      continue;
    }
    const at = (head: number, row: number) => (head * (own + width) + row) * rank;
    const bytes = (element: number) => tensor.data.subarray(2 * element, 2 * element + 2);
    const of = (count: number, element: (head: number, index: number) => number) =>
      Buffer.concat(
        Array.from({ length: heads * count }, (_, i) =>
          bytes(element(Math.floor(i / count), i % count)),
        ),
      );
    const keys = of(rank * own, (head, i) => at(head, i % own) + Math.floor(i / own));
    const values = of(width * rank, (head, i) => at(head, own) + i);
    const { dtype } = tensor;
    made.set(name.replace('kv_b', 'k_b'), { dtype, shape: [heads, rank, own], data: keys });
    made.set(name.replace('kv_b', 'v_b'), { dtype, shape: [heads, width, rank], data: values });
  }
  return made;
}

/** Without the layers from `count` on. */
export function withoutLayersFrom(tensors: Tensors, count: number): Tensors {
  const layerOf = (name: string) => Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? 0);
  return new Map([...tensors].filter(([name]) => layerOf(name) < count));
}

/** With the factors of rotary frequencies for short and for long sequences. */
export function withFactors(
  tensors: Tensors,
  factors: { readonly short: readonly number[]; readonly long: readonly number[] },
): Tensors {
  const made = new Map(tensors);
  for (const [length, values] of Object.entries(factors)) {
    const data = Buffer.from(Float32Array.from(values).buffer);
    made.set(`rope_factors_${length}.weight`, { dtype: 'F32', shape: [values.length], data });
  }
  return made;
}

/** The experts of gpt-oss in GGUF's blocks, gate and up rows apart; vectors in f32. */
export function withGptOssApart(tensors: Tensors): Tensors {
  const made: Tensors = new Map();
  const everyOther = (name: string, tensor: Tensor, suffix: string) => {
    const [count = 0, both = 0, ...rest] = tensor.shape;
    for (const [index, part] of ['gate', 'up'].entries()) {
      const rows = rowsInOrder(
        tensor,
        count * both,
        [(count * both) / 2, ...rest],
        (row) => 2 * row + index,
      );
      made.set(name.replace('gate_up_proj', `${part}_proj${suffix}`), {
        ...rows,
        shape: [count, both / 2, ...rest],
      });
    }
  };
  for (const [key, tensor] of tensors) {
    const name = key.replace(/_bias$|_blocks$/, '');
    if (key.endsWith('_scales')) continue;
    if (key.endsWith('_blocks')) {
      const scales = tensors.get(`${name}_scales`);
      assert.ok(scales !== undefined);
      const blocks = asGgufBlocks(tensor, scales);
      if (name.endsWith('gate_up_proj')) everyOther(name, blocks, '.weight');
      else made.set(`${name}.weight`, blocks);
    } else if (key.endsWith('gate_up_proj_bias')) everyOther(name, tensor, '.bias');
    else if (key.endsWith('down_proj_bias')) made.set(`${name}.bias`, tensor);
    else made.set(key, tensor);
  }
  return made;
}

/** An exponent, then 16 bytes of elements j and j + 16. */
function asGgufBlocks({ shape, data }: Tensor, scales: Tensor): Tensor {
  const element = (block: number, j: number) =>
    ((data[16 * block + (j >> 1)] ?? 0) >> (4 * (j & 1))) & 15;
  const blocks = Array.from(scales.data, (exponent, block) => [
    exponent,
    ...Array.from({ length: 16 }, (_, j) => element(block, j) | (element(block, j + 16) << 4)),
  ]);
  const columns = 32 * (shape.at(-2) ?? 0);
  return {
    dtype: 'MXFP4',
    shape: [...shape.slice(0, -2), columns],
    data: Buffer.from(blocks.flat()),
  };
}
