/** Mixtures of experts from GGUF files: what their tensors are called, and their blocks kept. */

import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type ConvertOptions, convertCheckpoint } from '../../src/convert/convert.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import { familyFixture } from '../support/fixtures.ts';
import { value } from '../support/gguf.ts';
import { writeBlockGguf } from '../support/gguf-model.ts';
import {
  type MixtureGguf,
  withFactors,
  withGptOssApart,
  withGraniteApart,
  withKeysApart,
  withoutLayersFrom,
  withPairs,
  writeMixtureGguf,
} from '../support/mixture-gguf.ts';
import type { Tensor, Tensors } from '../support/safetensors.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { assertSameBits } from './sparse-runs.ts';
import { converted, readFloats, relativeError, withSequence } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();

const granite = {
  architecture: 'granitemoe',
  keys: {
    embedding_scale: value.f32(1.5),
    residual_scale: value.f32(0.8),
    'attention.scale': value.f32(0.3),
    logit_scale: value.f32(0.5),
  },
  prepare: (tensors: Tensors) => withPairs(withGraniteApart(tensors), 8),
} satisfies MixtureGguf;

const fixtures: Readonly<Record<string, MixtureGguf>> = {
  'qwen3-moe-apart': { architecture: 'qwen3moe' },
  'qwen2-moe': {
    architecture: 'qwen2moe',
    keys: { expert_shared_feed_forward_length: value.u32(40) },
    // Files have one row's values alone.
    prepare: (tensors) =>
      new Map(
        [...tensors].map(([name, tensor]) =>
          name.endsWith('shared_expert_gate.weight')
            ? [name, { ...tensor, shape: tensor.shape.slice(1) }]
            : [name, tensor],
        ),
      ),
  },
  mixtral: {
    architecture: 'llama',
    keys: { 'attention.sliding_window': value.u32(9) },
    prepare: (tensors) => withPairs(tensors, 8),
  },
  olmoe: { architecture: 'olmoe', keys: { 'attention.clamp_kqv': value.f32(0.9) } },
  smallthinker: {
    architecture: 'smallthinker',
    keys: {
      'attention.key_length': value.u32(12),
      'attention.value_length': value.u32(12),
      'attention.sliding_window': value.u32(7),
      expert_gating_func: value.u32(2),
    },
  },
  granitemoe: granite,
};

function asGguf(dir: string, mixture: MixtureGguf): string {
  const path = join(root.directory(), 'model.gguf');
  writeMixtureGguf(path, dir, mixture);
  return path;
}

function idsOf(dir: string): number[] {
  const text = readFileSync(join(dir, 'reference.json'), 'utf8');
  return (JSON.parse(text) as { ids: number[] }).ids;
}

for (const [name, mixture] of Object.entries(fixtures)) {
  test(`${name}: a GGUF gives the logits of the checkpoint`, async () => {
    const dir = familyFixture(name);
    const ids = idsOf(dir);
    const model = await converted(root, asGguf(dir, mixture));
    const request = { context: ids.length, logits: 'all' } as const;
    await withSequence(model, 16 * MIB, request, async (sequence) => {
      const expected = readFloats(join(dir, 'logits.f32'));
      const error = relativeError(await sequence.logits(ids), expected);
      assert.ok(error <= 1e-5, `relative error ${error}`);
    });
  });
}

const yarn = {
  'rope.scaling.type': value.text('yarn'),
  'rope.scaling.factor': value.f32(4),
  'rope.scaling.original_context_length': value.u32(16),
};
const latent = {
  'attention.kv_lora_rank': value.u32(12),
  'rope.dimension_count': value.u32(6),
  leading_dense_block_count: value.u32(1),
  expert_weights_scale: value.f32(1.5),
};
const mlaWidths = { heads: 4, own: 10, value: 8, rank: 12 };

/** What files of the architecture say, and what of the configuration they cannot say. */
const sameBits: Readonly<Record<string, MixtureGguf & { readonly unsaid?: object }>> = {
  'gpt-oss': {
    architecture: 'gpt-oss',
    keys: {
      'attention.key_length': value.u32(16),
      'attention.value_length': value.u32(16),
      'attention.sliding_window': value.u32(9),
      ...yarn,
    },
    ffnNorm: 'post_attention_norm',
    prepare: withGptOssApart,
    // It is that of the models there are.
    unsaid: { swiglu_limit: 7 },
  },
  // As older files have it: keys and values in one.
  'deepseek-v2': {
    architecture: 'deepseek2',
    keys: {
      ...{ ...latent, ...yarn },
      'rope.scaling.yarn_log_multiplier': value.f32(0.0707),
      'attention.key_length': value.u32(16),
      'attention.value_length': value.u32(8),
      expert_shared_count: value.u32(2),
      expert_weights_norm: value.bool(false),
    },
  },
  // As newer ones do.
  'deepseek-v3': {
    architecture: 'deepseek2',
    keys: {
      ...{ ...latent, ...yarn },
      'rope.scaling.yarn_log_multiplier': value.f32(0.1),
      'attention.head_count_kv': value.u32(1),
      'attention.key_length': value.u32(18),
      'attention.value_length': value.u32(12),
      'attention.key_length_mla': value.u32(16),
      'attention.value_length_mla': value.u32(8),
      'attention.q_lora_rank': value.u32(20),
      expert_shared_count: value.u32(1),
      expert_gating_func: value.u32(2),
      expert_group_count: value.u32(4),
      expert_group_used_count: value.u32(2),
      expert_weights_norm: value.bool(true),
    },
    prepare: (tensors) => withKeysApart(withoutLayersFrom(tensors, 3), mlaWidths),
  },
  'glm4-moe': {
    architecture: 'glm4moe',
    keys: {
      block_count: value.u32(3),
      nextn_predict_layers: value.u32(1),
      leading_dense_block_count: value.u32(1),
      'attention.key_length': value.u32(16),
      'attention.value_length': value.u32(16),
      'rope.dimension_count': value.u32(8),
      expert_shared_count: value.u32(1),
      expert_weights_scale: value.f32(1.5),
    },
    ffnNorm: 'post_attention_norm',
    // A layer that proposes tokens.
    prepare: (tensors) =>
      new Map([
        ...tensors,
        ...[...tensors].flatMap(([name, tensor]): [string, Tensor][] =>
          name.includes('.1.self_attn') ? [[name.replace('.1.', '.2.'), tensor]] : [],
        ),
      ]),
  },
  'ernie4-5-moe': {
    architecture: 'ernie4_5-moe',
    keys: {
      expert_count: value.u32(8),
      expert_used_count: value.u32(3),
      interleave_moe_layer_step: value.u32(2),
      leading_dense_block_count: value.u32(1),
      expert_shared_count: value.u32(2),
      'rope.freq_base': value.f32(500_000),
    },
    prepare: (tensors) =>
      new Map(
        [...tensors].flatMap(([name, tensor]): [string, Tensor][] => {
          if (name.includes('.mtp_')) return [];
          const flat = { ...tensor, shape: tensor.shape.slice(1) };
          return [[name, name.endsWith('correction_bias') ? flat : tensor]];
        }),
      ),
  },
  phimoe: {
    architecture: 'phimoe',
    keys: {
      'rope.scaling.attn_factor': value.f32(1.2),
      'rope.scaling.original_context_length': value.u32(48),
    },
    prepare: (tensors) => withFactors(tensors, { short: [1, 1.3, 2, 3], long: [1.5, 3, 6, 9] }),
    unsaid: { router_jitter_noise: 0.01 },
  },
  granitemoeshared: {
    ...granite,
    keys: { ...granite.keys, expert_shared_feed_forward_length: value.u32(28) },
  },
};

for (const [name, { unsaid, ...mixture }] of Object.entries(sameBits)) {
  test(`${name}: a GGUF gives, to the bit, what the checkpoint gives`, async () => {
    const dir = join(root.directory(), 'checkpoint');
    cpSync(familyFixture(name), dir, { recursive: true });
    const file = join(dir, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8')) as object;
    writeFileSync(file, JSON.stringify({ ...config, ...unsaid }));
    const gguf = asGguf(dir, mixture);
    const ids = idsOf(dir);
    const request = { context: 24, logits: 'all' } as const;
    const logits = async (checkpoint: string) =>
      withSequence(await converted(root, checkpoint), 16 * MIB, request, (s) => s.logits(ids));
    assert.deepEqual(await logits(gguf), await logits(dir));
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
