/** What some mixtures of experts have besides gives the same bits whatever lies in DRAM. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import type { TargetFormat } from '../../src/convert/target-formats.ts';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { writeRandomModel } from '../support/random-model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { assertSameBits } from './sparse-runs.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
const size = {
  hidden_size: 64,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 256,
};

const variants: [number, Partial<RunRequest>][] = [
  [2.5 * MIB, { chunk: 7 }],
  [64 * MIB, { residency: 'none', chunk: 1 }],
  [64 * MIB, { residency: 'attention', threads: 2 }],
  [32 * MIB, { memoryLimit: 2.1 * MIB, chunk: 8, threads: 2 }],
];

async function assertSame(config: Record<string, unknown>, dtype: TargetFormat): Promise<void> {
  const checkpoint = writeRandomModel(root.directory(), { ...size, ...config });
  const model = join(root.directory(), 'model');
  await convertCheckpoint({ checkpoint, output: model, dtype, dramBudget: 2048 * MIB });
  const { partial, arenas } = await assertSameBits(model, variants);
  assert.ok(partial >= 3, `${partial} variants read weights while decoding`);
  assert.ok(arenas >= 1, `${arenas} variants used several memories`);
}

test('latent attention, groups of experts, shared experts', () =>
  assertSame(
    {
      model_type: 'deepseek_v2',
      intermediate_size: 256,
      kv_lora_rank: 32,
      q_lora_rank: 48,
      qk_nope_head_dim: 24,
      qk_rope_head_dim: 16,
      v_head_dim: 32,
      n_routed_experts: 24,
      num_experts_per_tok: 3,
      moe_intermediate_size: 160,
      n_shared_experts: 2,
      first_k_dense_replace: 1,
      topk_method: 'group_limited_greedy',
      n_group: 4,
      topk_group: 2,
    },
    'f16',
  ));

test('clamped gates, biases of experts, sinks, windows', () =>
  assertSame(
    {
      model_type: 'gpt_oss',
      head_dim: 32,
      intermediate_size: 160,
      num_local_experts: 24,
      num_experts_per_tok: 3,
      sliding_window: 8,
    },
    'q8',
  ));

test('routers before attention, gates of ReLU, layers without positions', () =>
  assertSame(
    {
      model_type: 'smallthinker',
      head_dim: 32,
      rope_layout: [0, 1, 1],
      sliding_window_layout: [0, 1, 1],
      sliding_window_size: 8,
      moe_num_primary_experts: 24,
      moe_num_active_primary_experts: 3,
      moe_ffn_hidden_size: 160,
    },
    'f16',
  ));
