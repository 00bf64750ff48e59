/** Architectures that differ from Llama in little more than the name. */

import { isJsonObject } from '../../checkpoint/json-file.ts';
import { biases, relative } from './llama.ts';

const silu = { activation: 'silu' } as const;

export const smollm3 = relative({
  ...silu,
  name: 'smollm3',
  modelType: 'smollm3',
  pairs: true,
  fields: (geometry) => ({ ...biases(geometry), no_rope_layer_interval: 4 }),
});

/** GLM-4 of 2024. */
export const chatglm = relative({
  ...silu,
  name: 'chatglm',
  modelType: 'glm',
  partial: true,
  names: { attn_qkv: 'self_attn.query_key_value', ffn_up: 'mlp.gate_up_proj' },
  fields: ({ keys }) => ({
    attention_bias: keys.has('blk.0.attn_q.bias') || keys.has('blk.0.attn_qkv.bias'),
  }),
});

/** Ministral 3, and Mistral Small 3 with a picture's tensors left out. */
export const mistral3 = relative({
  ...silu,
  name: 'mistral3',
  modelType: 'ministral3',
  pairs: true,
  fields: ({ keys, config }) => {
    const beta = keys.numberOr('attention.temperature_scale', 0);
    const said = config.rope_scaling;
    const scaling = isJsonObject(said)
      ? // Cosine and sine have no factor in this architecture.
        { ...said, attention_factor: 1, llama_4_scaling_beta: beta }
      : { rope_type: 'default' };
    return { rope_scaling: { rope_theta: config.rope_theta, ...scaling } };
  },
});

export const glm4 = relative({
  ...silu,
  name: 'glm4',
  modelType: 'glm4',
  partial: true,
  names: {
    post_attention_norm: 'post_self_attn_layernorm',
    post_ffw_norm: 'post_mlp_layernorm',
    ffn_up: 'mlp.gate_up_proj',
  },
  fields: ({ keys }) => ({ attention_bias: keys.has('blk.0.attn_q.bias') }),
});

/** EXAONE 3 and InternLM2 equal Llama once their tensors are renamed. */
export const exaone = relative({ ...silu, name: 'exaone', modelType: 'llama' });
export const internlm2 = relative({
  ...silu,
  name: 'internlm2',
  modelType: 'llama',
  pairs: true,
  fields: ({ keys }) => ({ attention_bias: keys.has('blk.0.attn_q.bias') }),
});

export const exaone4 = relative({
  ...silu,
  name: 'exaone4',
  modelType: 'exaone4',
  names: {
    post_attention_norm: 'post_attention_layernorm',
    post_ffw_norm: 'post_feedforward_layernorm',
  },
  fields: ({ keys }) => ({
    sliding_window: keys.numberOr('attention.sliding_window', null),
  }),
});

export const seedOss = relative({
  ...silu,
  name: 'seed_oss',
  modelType: 'seed_oss',
  names: { post_attention_norm: 'post_attention_layernorm' },
  fields: ({ keys }) => ({ attention_bias: keys.has('blk.0.attn_q.bias') }),
});

export const ernie45 = relative({ ...silu, name: 'ernie4_5', modelType: 'ernie4_5' });

export const hunyuanDense = relative({
  ...silu,
  name: 'hunyuan-dense',
  modelType: 'hunyuan_v1_dense',
  names: { attn_q_norm: 'self_attn.query_layernorm', attn_k_norm: 'self_attn.key_layernorm' },
  fields: ({ keys }) => ({ attention_bias: keys.has('blk.0.attn_q.bias') }),
});
