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
  withGptOssApart,
  withGraniteApart,
  withPairs,
  writeMixtureGguf,
} from '../support/mixture-gguf.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { assertSameBits } from './sparse-runs.ts';
import { converted, readFloats, relativeError, withSequence } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();

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
  granitemoe: {
    architecture: 'granitemoe',
    keys: {
      embedding_scale: value.f32(1.5),
      residual_scale: value.f32(0.8),
      'attention.scale': value.f32(0.3),
      logit_scale: value.f32(0.5),
    },
    prepare: (tensors) => withPairs(withGraniteApart(tensors), 8),
  },
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

test('gpt-oss: a GGUF gives, to the bit, what the checkpoint gives', async () => {
  const dir = join(root.directory(), 'checkpoint');
  cpSync(familyFixture('gpt-oss'), dir, { recursive: true });
  // A file does not say the limit; it is that of the models there are.
  const file = join(dir, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...config, swiglu_limit: 7 }));
  const gguf = asGguf(dir, {
    architecture: 'gpt-oss',
    keys: {
      'attention.key_length': value.u32(16),
      'attention.value_length': value.u32(16),
      'attention.sliding_window': value.u32(9),
      'rope.scaling.type': value.text('yarn'),
      'rope.scaling.factor': value.f32(4),
      'rope.scaling.original_context_length': value.u32(16),
    },
    ffnNorm: 'post_attention_norm',
    prepare: withGptOssApart,
  });
  const ids = idsOf(dir);
  const logits = async (checkpoint: string) =>
    withSequence(await converted(root, checkpoint), 16 * MIB, { context: 24, logits: 'all' }, (s) =>
      s.logits(ids),
    );
  assert.deepEqual(await logits(gguf), await logits(dir));
});

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
