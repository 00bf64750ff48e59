/** DeepSeek V2 and V3: attention with latent vectors, dense first layers, an FFN beside the experts. */

import { isJsonObject } from '../../checkpoint/json-file.ts';
import { limits } from '../config.ts';
import type { Geometry } from './common.ts';
import { correctedExpertNames, correctionAsStored, expertCounts, gatingOf } from './experts.ts';
import type { GgufKeys } from './keys.ts';
import { relative } from './llama.ts';
import type { GgufArchitecture, GgufFacts } from './translation.ts';

const attention = {
  attn_q_a: 'self_attn.q_a_proj',
  attn_q_a_norm: 'self_attn.q_a_layernorm',
  attn_q_b: 'self_attn.q_b_proj',
  attn_kv_a_mqa: 'self_attn.kv_a_proj_with_mqa',
  attn_kv_a_norm: 'self_attn.kv_a_layernorm',
  attn_kv_b: 'self_attn.kv_b_proj',
  attn_k_b: 'self_attn.k_b_proj',
  attn_v_b: 'self_attn.v_b_proj',
} as const;

const names = relative({
  name: 'deepseek2',
  modelType: 'deepseek_v2',
  activation: 'silu',
  latent: true,
  blocks: { ...attention, ...correctedExpertNames },
  fields: (geometry, facts) => ({
    ...attentionFields(geometry),
    ...expertFields(geometry, facts),
  }),
});

export const deepseek2: GgufArchitecture = {
  name: names.name,
  translate: (facts) => {
    const translation = names.translate(facts);
    return {
      ...translation,
      translate: (tensor) => translation.translate(tensor)?.map(correctionAsStored),
    };
  },
};

function attentionFields({ keys, heads, headDim, valueDim, rotaryDim, config }: Geometry) {
  return {
    num_key_value_heads: heads,
    q_lora_rank: keys.has('blk.0.attn_q_a.weight')
      ? keys.integer('attention.q_lora_rank', undefined, limits.hiddenSize)
      : null,
    kv_lora_rank: keys.integer('attention.kv_lora_rank', undefined, limits.hiddenSize),
    qk_nope_head_dim: headDim - rotaryDim,
    qk_rope_head_dim: rotaryDim,
    v_head_dim: valueDim,
    attention_bias: keys.has('blk.0.attn_kv_a_mqa.bias'),
    ...scaling(keys, config.rope_scaling),
  };
}

/** Files store a tenth of the weight with which scores grow for longer sequences. */
function scaling(keys: GgufKeys, rope: unknown) {
  const weight = keys.numberOr('rope.scaling.yarn_log_multiplier', 0);
  if (weight === 0 || !isJsonObject(rope)) return {};
  const mscale = Number((10 * weight).toPrecision(7));
  return { rope_scaling: { ...rope, mscale, mscale_all_dim: mscale } };
}

function expertFields(geometry: Geometry, facts: GgufFacts) {
  const { keys } = geometry;
  const { count, topK, neurons } = expertCounts(geometry);
  const groups = {
    n_group: keys.integer('expert_group_count', 1, limits.experts),
    topk_group: keys.integer('expert_group_used_count', 1, limits.experts),
  };
  const bySigmoid = gatingOf(geometry, facts) === 'sigmoid';
  return {
    ...(bySigmoid && { model_type: 'deepseek_v3', num_nextn_predict_layers: 0 }),
    n_routed_experts: count,
    num_experts_per_tok: topK,
    moe_intermediate_size: neurons,
    n_shared_experts: keys.integer('expert_shared_count', undefined, limits.experts),
    first_k_dense_replace: keys.numberOr('leading_dense_block_count', 0),
    norm_topk_prob: keys.flag('expert_weights_norm') ?? bySigmoid,
    routed_scaling_factor: keys.numberOr('expert_weights_scale', 1),
    topk_method: groups.n_group === groups.topk_group ? 'greedy' : 'group_limited_greedy',
    ...groups,
  };
}
