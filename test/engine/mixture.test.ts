/** Mixtures of experts give the same bits whatever lies in DRAM, whatever comes when. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import type { TargetFormat } from '../../src/convert/target-formats.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import { familyFixture } from '../support/fixtures.ts';
import { flip } from '../support/model.ts';
import { writeRandomModel } from '../support/random-model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { assertSameBits } from './sparse-runs.ts';
import { converted, withRuntime } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
const size = {
  hidden_size: 64,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 32,
  max_position_embeddings: 256,
  intermediate_size: 512,
  num_experts: 24,
  num_experts_per_tok: 3,
  moe_intermediate_size: 160,
  norm_topk_prob: true,
};

const variants: [number, Partial<RunRequest>][] = [
  [3 * MIB, {}],
  [2 * MIB, { chunk: 7, window: Number.POSITIVE_INFINITY }],
  [64 * MIB, { residency: 'none', chunk: 1 }],
  [64 * MIB, { window: 2, chunk: 64 }],
  [64 * MIB, { residency: 'attention', threads: 2 }],
  [17 * MIB, { threads: 2, window: 3 }],
  [32 * MIB, { memoryLimit: 2.5 * MIB, chunk: 8, threads: 2 }],
];

async function assertSame(config: Record<string, unknown>, dtype: TargetFormat): Promise<void> {
  const checkpoint = writeRandomModel(root.directory(), config);
  const model = join(root.directory(), 'model');
  await convertCheckpoint({ checkpoint, output: model, dtype, dramBudget: 2048 * MIB });
  const { partial, arenas } = await assertSameBits(model, variants);
  assert.ok(partial >= 4, `${partial} variants read weights while decoding`);
  assert.ok(arenas >= 1, `${arenas} variants used several memories`);
}

test('experts alone, one layer dense, f16', () =>
  assertSame({ ...size, model_type: 'qwen3_moe', mlp_only_layers: [1] }, 'f16'));

test('an FFN beside the experts, every other layer dense, q8', () =>
  assertSame(
    {
      ...size,
      model_type: 'qwen2_moe',
      decoder_sparse_step: 2,
      shared_expert_intermediate_size: 320,
    },
    'q8',
  ));

const fixture = () => converted(root, familyFixture('qwen3-moe'));
const ids = [1, 20, 30, 40, 50, 60, 70, 80, 90];

test('a damaged expert is named every time it is wanted, and nothing is stuck behind it', async () => {
  const model = await fixture();
  const manifest = await readManifest(model);
  const { file = '', offset = 0, shape = [] } = manifest.tensors.get('layers.1.ffn.experts') ?? {};
  const [count = 0, unitBytes = 0] = shape;
  for (let expert = 0; expert < count; expert++) {
    flip(join(model, file), offset + expert * unitBytes + 100);
  }
  const damage = {
    line: /bundles\.safetensors, tensor layers\.1\.ffn\.experts, byte \d+: damaged/,
  };
  await withRuntime(model, 16 * MIB, { context: 32, residency: 'attention' }, async (runtime) => {
    for (let round = 0; round < 4; round++) {
      const sequence = runtime.sequence();
      await assert.rejects(sequence.logits(ids), damage);
      sequence.close();
    }
  });
  // Where all fit, they are read first.
  await assert.rejects(
    withRuntime(model, 16 * MIB, { context: 32 }, async () => {}),
    damage,
  );
});

test('fewer experts are another output, and more than the model takes are refused', async () => {
  const model = await fixture();
  const logits = (experts?: number) =>
    withRuntime(model, 16 * MIB, { context: 32, ...(experts && { experts }) }, async (runtime) =>
      (await runtime.sequence().logits(ids)).slice(),
    );
  const whole = await logits();
  assert.deepEqual(await logits(3), whole);
  assert.notDeepEqual(await logits(2), whole);
  await assert.rejects(logits(4), /must be 1 to 3, as many as the model was trained with, not 4/);
  const dense = await converted(root, familyFixture('qwen3'));
  await assert.rejects(
    withRuntime(dense, 16 * MIB, { context: 32, experts: 1 }, async () => {}),
    /is not a mixture of experts/,
  );
});

test('figures tell how many experts were there', async () => {
  const model = await fixture();
  const rates: number[] = [];
  for (const residency of ['all', 'attention'] as const) {
    await withRuntime(model, 16 * MIB, { context: 32, residency }, async (runtime) => {
      const run = runtime.stats.begin();
      await runtime.sequence().logits(ids);
      rates.push(run.snapshot(ids.length, 0).expertHitRate ?? Number.NaN);
    });
  }
  assert.deepEqual(rates, [1, 0]);
});
