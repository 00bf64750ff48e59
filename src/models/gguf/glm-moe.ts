/**
 * GLM-4.5 and its successors: the experts of DeepSeek V3; the layer count of files includes layers that
 * propose tokens.
 */

import { limits } from '../config.ts';
import { correctedExpertNames, correctionAsStored, expertCounts } from './experts.ts';
import { relative } from './llama.ts';
import type { GgufArchitecture } from './translation.ts';

const names = relative({
  name: 'glm4moe',
  modelType: 'glm4_moe',
  activation: 'silu',
  partial: true,
  blocks: { ...correctedExpertNames, post_attention_norm: 'post_attention_layernorm' },
  fields: (geometry) => {
    const { keys, layers } = geometry;
    const { count, topK, neurons } = expertCounts(geometry);
    const proposing = keys.numberOr('nextn_predict_layers', 0);
    return {
      num_hidden_layers: layers - proposing,
      num_nextn_predict_layers: proposing,
      n_routed_experts: count,
      num_experts_per_tok: topK,
      moe_intermediate_size: neurons,
      n_shared_experts: keys.integer('expert_shared_count', undefined, limits.experts),
      first_k_dense_replace: keys.numberOr('leading_dense_block_count', 0),
      norm_topk_prob: keys.flag('expert_weights_norm') ?? true,
      routed_scaling_factor: keys.numberOr('expert_weights_scale', 1),
      use_qk_norm: keys.has('blk.0.attn_q_norm.weight'),
      attention_bias: keys.has('blk.0.attn_q.bias'),
    };
  },
});

export const glm4moe: GgufArchitecture = {
  name: names.name,
  translate: (facts) => {
    const { config, translate } = names.translate(facts);
    const layers = Number(config.num_hidden_layers);
    const isBehind = (tensor: string) =>
      Number(/^blk\.(\d{1,6})\./.exec(tensor)?.[1] ?? 0) >= layers;
    return {
      config,
      translate: (tensor) => (isBehind(tensor) ? [] : translate(tensor)?.map(correctionAsStored)),
    };
  },
};
