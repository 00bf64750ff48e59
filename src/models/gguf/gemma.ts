/** Gemma, all generations: GGUF stores norm weights with the 1 that the checkpoint leaves out. */

import type { Geometry } from './common.ts';
import { relative } from './llama.ts';

const common = { activation: 'gelu_pytorch_tanh', normOffset: 1 } as const;

/** Norms before and after each sublayer. */
const names = {
  post_attention_norm: 'post_attention_layernorm',
  ffn_norm: 'pre_feedforward_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
} as const;

/** The largest model of a generation has its own scale of scores, derived from the hidden size. */
function scoreScalar({ layers, hidden, heads, headDim }: Geometry, largest: number): number {
  return layers === largest ? hidden / heads : headDim;
}

/** Layer types: a window in all layers except every `every`th. */
function windows({ keys, layers }: Geometry, every: number) {
  const step = keys.numberOr('attention.sliding_window_pattern', every);
  return {
    sliding_window: keys.integer('attention.sliding_window'),
    layer_types: Array.from({ length: layers }, (_, layer) =>
      (layer + 1) % step === 0 ? 'full_attention' : 'sliding_attention',
    ),
  };
}

const activation = { hidden_activation: common.activation } as const;

export const gemma = relative({ ...common, name: 'gemma', modelType: 'gemma' });

export const gemma2 = relative({
  ...common,
  name: 'gemma2',
  modelType: 'gemma2',
  names,
  fields: (geometry) => ({
    ...activation,
    ...windows(geometry, 2),
    query_pre_attn_scalar: scoreScalar(geometry, 46),
    attn_logit_softcapping: geometry.keys.numberOr('attn_logit_softcapping', 50),
    final_logit_softcapping: geometry.keys.numberOr('final_logit_softcapping', 30),
  }),
});

export const gemma3 = relative({
  ...common,
  name: 'gemma3',
  modelType: 'gemma3_text',
  names,
  fields: (geometry) => ({
    ...activation,
    ...windows(geometry, 6),
    query_pre_attn_scalar: scoreScalar(geometry, 62),
    rope_local_base_freq: geometry.keys.numberOr('rope.freq_base_swa', 10_000),
    final_logit_softcapping: geometry.keys.numberOr('final_logit_softcapping', null),
  }),
});
