/** Qwen's mixtures of experts: the tensor names of Qwen and those of experts. */

import { limits } from '../config.ts';
import type { Geometry } from './common.ts';
import { expertCounts, expertNames, layersWithoutExperts, sharedExpertNames } from './experts.ts';
import { relative } from './llama.ts';

/** Fields of all of them. */
function expertFields(geometry: Geometry) {
  const { count, topK, neurons } = expertCounts(geometry);
  return {
    num_experts: count,
    num_experts_per_tok: topK,
    moe_intermediate_size: neurons,
    mlp_only_layers: layersWithoutExperts(geometry),
    decoder_sparse_step: 1,
    use_sliding_window: false,
  };
}

export const qwen3moe = relative({
  name: 'qwen3moe',
  modelType: 'qwen3_moe',
  activation: 'silu',
  pairs: false,
  blocks: expertNames,
  fields: (geometry) => ({
    ...expertFields(geometry),
    // Always true for this architecture if the file does not say.
    norm_topk_prob: geometry.keys.flag('expert_weights_norm') ?? true,
    attention_bias: geometry.keys.has('blk.0.attn_q.bias'),
  }),
});

export const qwen2moe = relative({
  name: 'qwen2moe',
  modelType: 'qwen2_moe',
  activation: 'silu',
  pairs: false,
  blocks: { ...expertNames, ...sharedExpertNames },
  fields: (geometry) => ({
    ...expertFields(geometry),
    norm_topk_prob: geometry.keys.flag('expert_weights_norm') ?? false,
    shared_expert_intermediate_size: geometry.keys.integer(
      'expert_shared_feed_forward_length',
      undefined,
      limits.neurons,
    ),
    qkv_bias: geometry.keys.has('blk.0.attn_q.bias'),
  }),
});
