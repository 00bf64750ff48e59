/** gpt-oss: separate gate and up rows of experts, biases of all experts, attention sinks. */

import { expertCounts } from './experts.ts';
import { relative } from './llama.ts';
import type { GgufArchitecture, Translated } from './translation.ts';

const names = relative({
  name: 'gpt-oss',
  modelType: 'gpt_oss',
  activation: 'silu',
  pairs: false,
  blocks: {
    post_attention_norm: 'post_attention_layernorm',
    attn_sinks: 'self_attn.sinks',
    ffn_gate_inp: 'mlp.router',
    ffn_gate_exps: 'mlp.experts.gate_proj',
    ffn_up_exps: 'mlp.experts.up_proj',
    ffn_down_exps: 'mlp.experts.down_proj',
  },
  fields: ({ keys, config }) => {
    const scaling = config.rope_scaling;
    const { count, topK, neurons } = expertCounts({ keys });
    return {
      num_local_experts: count,
      num_experts_per_tok: topK,
      intermediate_size: neurons,
      sliding_window: keys.integer('attention.sliding_window'),
      attention_bias: keys.has('blk.0.attn_q.bias'),
      // Files do not say that the range between scaled and unscaled frequencies is not rounded.
      ...(typeof scaling === 'object' &&
        scaling && { rope_scaling: { ...scaling, truncate: false } }),
    };
  },
});

export const gptOss: GgufArchitecture = {
  name: names.name,
  translate: (facts) => {
    const translation = names.translate(facts);
    return { ...translation, translate: (tensor) => translation.translate(tensor)?.map(asStored) };
  },
};

/** In checkpoints, these names have no `.weight`, or end in `_bias`. */
function asStored(translated: Translated): Translated {
  const name = translated.name
    .replace(/\.sinks\.weight$/, '.sinks')
    .replace(/\.down_proj\.bias$/, '.down_proj_bias');
  return { ...translated, name };
}
