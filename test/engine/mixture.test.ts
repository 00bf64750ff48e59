/** Mixtures of experts give the same bits whatever lies in DRAM, in every format. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import type { EncodedDType } from '../../src/dtype.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { writeRandomModel } from '../support/random-model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { assertSameBits } from './sparse-runs.ts';

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

async function assertSame(config: Record<string, unknown>, dtype: EncodedDType): Promise<void> {
  const checkpoint = writeRandomModel(root.directory(), config);
  const model = join(root.directory(), 'model');
  await convertCheckpoint({ checkpoint, output: model, dtype, dramBudget: 2048 * MIB });
  const { partial, arenas } = await assertSameBits(model, variants);
  assert.ok(partial >= 4, `${partial} variants read weights while decoding`);
  assert.ok(arenas >= 1, `${arenas} variants used several memories`);
}

for (const dtype of ['f16', 'q4'] as const) {
  test(`experts alone, one layer dense, ${dtype}`, () =>
    assertSame({ ...size, model_type: 'qwen3_moe', mlp_only_layers: [1] }, dtype));
}

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
