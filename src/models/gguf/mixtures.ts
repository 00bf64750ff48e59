/** Mixtures of experts with Llama's names whose experts are as wide as `feed_forward_length`. */

import { limits } from '../config.ts';
import type { Geometry } from './common.ts';
import { expertNames } from './experts.ts';
import { relative } from './llama.ts';

function counts({ keys }: Geometry) {
  return {
    num_local_experts: keys.integer('expert_count', undefined, limits.experts),
    num_experts_per_tok: keys.integer('expert_used_count', undefined, limits.experts),
  };
}

/** Files of Mixtral give `llama` as their architecture. */
export const mixtral = relative({
  name: 'llama',
  modelType: 'mixtral',
  activation: 'silu',
  pairs: true,
  blocks: expertNames,
  fields: (geometry) => ({
    ...counts(geometry),
    sliding_window: geometry.keys.optionalNumber('attention.sliding_window') ?? null,
  }),
});

export const olmoe = relative({
  name: 'olmoe',
  modelType: 'olmoe',
  activation: 'silu',
  pairs: false,
  blocks: expertNames,
  fields: (geometry) => ({
    ...counts(geometry),
    norm_topk_prob: geometry.keys.flag('expert_weights_norm') ?? false,
    clip_qkv: geometry.keys.optionalNumber('attention.clamp_kqv') ?? null,
  }),
});

export const granitemoe = relative({
  name: 'granitemoe',
  modelType: 'granitemoe',
  activation: 'silu',
  pairs: true,
  blocks: { ...expertNames, ffn_gate_inp: 'block_sparse_moe.router', ...graniteExperts() },
  fields: (geometry) => {
    const { keys } = geometry;
    const shared = keys.numberOr('expert_shared_feed_forward_length', 0);
    return {
      ...(shared !== 0 && { model_type: 'granitemoeshared', shared_intermediate_size: shared }),
      ...counts(geometry),
      embedding_multiplier: keys.number('embedding_scale'),
      residual_multiplier: keys.number('residual_scale'),
      attention_multiplier: keys.number('attention.scale'),
      logits_scaling: keys.number('logit_scale'),
      attention_bias: keys.has('blk.0.attn_q.bias'),
    };
  },
});

function graniteExperts() {
  const of = (part: string) => `block_sparse_moe.experts.${part}`;
  return {
    ffn_gate_exps: of('gate_proj'),
    ffn_up_exps: of('up_proj'),
    ffn_down_exps: of('down_proj'),
    ffn_gate_up_exps: of('gate_up_proj'),
    ffn_gate_shexp: 'shared_mlp.gate_proj',
    ffn_up_shexp: 'shared_mlp.up_proj',
    ffn_down_shexp: 'shared_mlp.down_proj',
  };
}

export const phimoe = relative({
  name: 'phimoe',
  modelType: 'phimoe',
  activation: 'silu',
  blocks: { ...expertNames, ffn_gate_inp: 'mlp.router' },
  fields: (geometry) => {
    const { keys } = geometry;
    const window = keys.numberOr('attention.sliding_window', 0);
    return {
      ...counts(geometry),
      sliding_window: window === 0 ? null : window,
      attention_bias: keys.has('blk.0.attn_q.bias'),
      lm_head_bias: keys.has('output.bias'),
    };
  },
});
