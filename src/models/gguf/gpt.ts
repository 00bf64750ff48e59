/** GPT-2 and the models between it and Llama: layer norms, biases, and different names in each. */

import { relative } from './llama.ts';

const inTransformer = (layer: string) => `transformer.h.${layer}`;

export const gpt2 = relative({
  name: 'gpt2',
  modelType: 'gpt2',
  activation: 'gelu_new',
  layerNormEps: 'layer_norm_epsilon',
  prefix: inTransformer,
  plain: {
    token_embd: 'transformer.wte',
    position_embd: 'transformer.wpe',
    output_norm: 'transformer.ln_f',
  },
  names: {
    attn_norm: 'ln_1',
    attn_qkv: 'attn.c_attn',
    attn_output: 'attn.c_proj',
    ffn_norm: 'ln_2',
    ffn_up: 'mlp.c_fc',
    ffn_down: 'mlp.c_proj',
  },
  fields: ({ keys }) => ({
    n_inner: keys.integer('feed_forward_length'),
    activation_function: 'gelu_new',
    // The file stores them transposed.
    conv_1d: false,
  }),
});

export const gptneox = relative({
  name: 'gptneox',
  modelType: 'gpt_neox',
  activation: 'gelu',
  layerNormEps: 'layer_norm_eps',
  partial: true,
  grouped: true,
  prefix: (layer) => `gpt_neox.layers.${layer}`,
  plain: {
    token_embd: 'gpt_neox.embed_in',
    output_norm: 'gpt_neox.final_layer_norm',
    output: 'embed_out',
  },
  names: {
    attn_qkv: 'attention.query_key_value',
    attn_output: 'attention.dense',
    ffn_up: 'mlp.dense_h_to_4h',
    ffn_down: 'mlp.dense_4h_to_h',
  },
  fields: ({ keys, rotaryDim, headDim }) => ({
    use_parallel_residual: keys.flag('use_parallel_residual') ?? true,
    attention_bias: keys.has('blk.0.attn_qkv.bias'),
    rotary_pct: rotaryDim / headDim,
    rotary_emb_base: keys.numberOr('rope.freq_base', 10_000),
  }),
});

export const bloom = relative({
  name: 'bloom',
  modelType: 'bloom',
  activation: 'gelu_new',
  layerNormEps: 'layer_norm_epsilon',
  grouped: true,
  prefix: inTransformer,
  plain: {
    token_embd: 'transformer.word_embeddings',
    token_embd_norm: 'transformer.word_embeddings_layernorm',
    output_norm: 'transformer.ln_f',
  },
  names: {
    attn_qkv: 'self_attention.query_key_value',
    attn_output: 'self_attention.dense',
    ffn_up: 'mlp.dense_h_to_4h',
    ffn_down: 'mlp.dense_4h_to_h',
  },
  fields: ({ config }) => ({ seq_length: config.max_position_embeddings }),
});

export const mpt = relative({
  name: 'mpt',
  modelType: 'mpt',
  activation: 'gelu',
  layerNormEps: 'layer_norm_epsilon',
  prefix: (layer) => `transformer.blocks.${layer}`,
  plain: { token_embd: 'transformer.wte', output_norm: 'transformer.norm_f' },
  names: {
    attn_norm: 'norm_1',
    attn_qkv: 'attn.Wqkv',
    attn_output: 'attn.out_proj',
    ffn_norm: 'norm_2',
    ffn_up: 'ffn.up_proj',
    ffn_down: 'ffn.down_proj',
  },
  fields: ({ keys, config }) => ({
    max_seq_len: config.max_position_embeddings,
    attn_config: {
      clip_qkv: keys.numberOr('attention.clamp_kqv', null),
      alibi_bias_max: keys.numberOr('attention.max_alibi_bias', 8),
    },
  }),
});

export const starcoder2 = relative({
  name: 'starcoder2',
  modelType: 'starcoder2',
  activation: 'gelu_pytorch_tanh',
  layerNormEps: 'norm_epsilon',
  names: { ffn_up: 'mlp.c_fc', ffn_down: 'mlp.c_proj' },
  fields: ({ keys }) => ({
    use_bias: keys.has('blk.0.attn_q.bias'),
    sliding_window: keys.numberOr('attention.sliding_window', null),
  }),
});
