/** Mixtures of experts from GGUF files: what their tensors are called, and their blocks kept. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseGguf } from '../../scripts/fuzz/gguf-document.ts';
import { type ConvertOptions, convertCheckpoint } from '../../src/convert/convert.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import { familyFixture, ggufFixtures } from '../support/fixtures.ts';
import { type GgufTensorParts, ggufBytes, value } from '../support/gguf.ts';
import { writeBlockGguf } from '../support/gguf-model.ts';
import { readSafetensors, type Tensor } from '../support/safetensors.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { assertSameBits } from './sparse-runs.ts';
import { converted, readFloats, relativeError, withSequence } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();

/** GGUF's names, by those of the checkpoint. */
const names: readonly (readonly [RegExp, string])[] = [
  [/^model\.embed_tokens/, 'token_embd'],
  [/^model\.norm/, 'output_norm'],
  [/^lm_head/, 'output'],
  [/^model\.layers\.(\d+)\.input_layernorm/, 'blk.$1.attn_norm'],
  [/^model\.layers\.(\d+)\.post_attention_layernorm/, 'blk.$1.ffn_norm'],
  [/^model\.layers\.(\d+)\.self_attn\.([qkv])_proj/, 'blk.$1.attn_$2'],
  [/^model\.layers\.(\d+)\.self_attn\.o_proj/, 'blk.$1.attn_output'],
  [/^model\.layers\.(\d+)\.self_attn\.([qk])_norm/, 'blk.$1.attn_$2_norm'],
  [/^model\.layers\.(\d+)\.mlp\.gate\.weight/, 'blk.$1.ffn_gate_inp.weight'],
  [/^model\.layers\.(\d+)\.mlp\.(\w+)_proj/, 'blk.$1.ffn_$2'],
  [/^model\.layers\.(\d+)\.mlp\.experts\.(\w+)_proj/, 'blk.$1.ffn_$2_exps'],
  [/^model\.layers\.(\d+)\.mlp\.shared_expert\.(\w+)_proj/, 'blk.$1.ffn_$2_shexp'],
  [/^model\.layers\.(\d+)\.mlp\.shared_expert_gate/, 'blk.$1.ffn_gate_inp_shexp'],
];

function ggufName(name: string): string {
  const [from, to] = names.find(([pattern]) => pattern.test(name)) ?? [];
  assert.ok(from !== undefined && to !== undefined, name);
  return name.replace(from, to);
}

/** A fixture as a GGUF file; its experts are apart. */
function asGguf(fixture: string, architecture: string, keys: Record<string, Buffer>): string {
  const dir = familyFixture(fixture);
  const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')) as Record<
    string,
    number
  >;
  const number = (key: string) => value.u32(config[key] ?? 0);
  const stacked = new Map<string, Tensor[]>();
  for (const [name, tensor] of readSafetensors(join(dir, 'model.safetensors'))) {
    // Those of a layer come in the order of their names: by the numbers' digits.
    const [, before = name, expert, after = ''] = /^(.*\.experts)\.(\d+)(\..*)$/.exec(name) ?? [];
    const all = stacked.get(before + after) ?? [];
    all[Number(expert ?? 0)] = tensor;
    stacked.set(before + after, all);
  }
  const tensors = [...stacked].map(([name, parts]): GgufTensorParts => {
    const shape = [...(parts[0]?.shape ?? [])].reverse().filter((size) => size > 1);
    const sizes = name.includes('.experts.') ? [...shape, parts.length] : shape;
    assert.equal(parts[0]?.dtype, 'F16');
    return { name: ggufName(name), sizes, type: 1, data: Buffer.concat(parts.map((p) => p.data)) };
  });
  const tokenizer = parseGguf(readFileSync(join(ggufFixtures, 'qwen3', 'model.gguf'))).metadata;
  const own: Record<string, Buffer> = {
    block_count: number('num_hidden_layers'),
    context_length: number('max_position_embeddings'),
    embedding_length: number('hidden_size'),
    feed_forward_length: number('intermediate_size'),
    'attention.head_count': number('num_attention_heads'),
    'attention.head_count_kv': number('num_key_value_heads'),
    'attention.layer_norm_rms_epsilon': value.f32(1e-6),
    expert_count: value.u32(config.num_local_experts ?? config.num_experts ?? 0),
    expert_used_count: number('num_experts_per_tok'),
    expert_feed_forward_length: number('moe_intermediate_size'),
    ...keys,
  };
  const metadata: [string, Buffer][] = [
    ['general.architecture', value.text(architecture)],
    ...Object.entries(own).map(([key, at]): [string, Buffer] => [`${architecture}.${key}`, at]),
    ...tokenizer.filter(([key]) => key.startsWith('tokenizer.')),
  ];
  const path = join(root.directory(), 'model.gguf');
  writeFileSync(path, ggufBytes({ metadata, tensors }));
  return path;
}

const fixtures = {
  'qwen3-moe-apart': asGguf('qwen3-moe-apart', 'qwen3moe', {}),
  'qwen2-moe': asGguf('qwen2-moe', 'qwen2moe', {
    expert_shared_feed_forward_length: value.u32(40),
  }),
};

for (const [name, gguf] of Object.entries(fixtures)) {
  test(`${name}: a GGUF gives the logits of the checkpoint`, async () => {
    const dir = familyFixture(name);
    const { ids } = JSON.parse(readFileSync(join(dir, 'reference.json'), 'utf8')) as {
      ids: number[];
    };
    const model = await converted(root, gguf);
    const request = { context: ids.length, logits: 'all' } as const;
    await withSequence(model, 16 * MIB, request, async (sequence) => {
      const expected = readFloats(join(dir, 'logits.f32'));
      const error = relativeError(await sequence.logits(ids), expected);
      assert.ok(error <= 1e-5, `relative error ${error}`);
    });
  });
}

const mixed = writeBlockGguf(root.directory(), {
  ...{ hidden: 256, layers: 4, heads: 4, kvHeads: 2, vocab: 2048, ffn: 512 },
  experts: { count: 12, topK: 3, neurons: 256 },
  typeOf: (name) => {
    if (name === 'output.weight') return 'Q6_K';
    if (name.includes('ffn_gate_inp')) return 'F32';
    if (/attn_v|ffn_down/.test(name)) return /^blk\.[23]\./.test(name) ? 'Q4_K' : 'Q6_K';
    return 'Q4_K';
  },
});

async function convertedAs(options: Partial<ConvertOptions>): Promise<string> {
  const output = join(root.directory(), 'model');
  await convertCheckpoint({ checkpoint: mixed, output, dramBudget: 2048 * MIB, ...options });
  return output;
}

test('experts keep their blocks, give what their values give, and the same bits everywhere', async () => {
  const kept = await convertedAs({});
  const formats = (await readManifest(kept)).ffns.map((ffns) =>
    ffns.map(({ name, parts }) => `${name}: ${parts.map(({ dtype }) => dtype).join(' ')}`),
  );
  assert.deepEqual(formats, [
    ['ffn: q4_k q4_k q6_k'],
    ['experts: q4_k q4_k q6_k'],
    ['experts: q4_k q4_k q4_k'],
    ['experts: q4_k q4_k q4_k'],
  ]);
  const ids = Array.from({ length: 30 }, (_, i) => (i * 311) % 2048);
  const logits = (model: string, request: Partial<RunRequest> = {}) =>
    withSequence(model, 64 * MIB, { context: 64, logits: 'all', ...request }, (sequence) =>
      sequence.logits(ids),
    );
  const values = await logits(await convertedAs({ dtype: 'f32' }));
  const exact = relativeError(await logits(kept, { ffn: 'exact' }), values);
  assert.ok(exact < 1e-5, `in f32, a relative error of ${exact}`);
  const rounded = relativeError(await logits(kept), values);
  assert.ok(rounded < 0.1 && rounded > exact, `a relative error of ${rounded}`);
  const { partial } = await assertSameBits(kept, [
    [4 * MIB, { chunk: 9 }],
    [64 * MIB, { residency: 'attention', threads: 2 }],
  ]);
  assert.equal(partial, 2);
});
