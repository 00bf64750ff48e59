/** GPT-2: learned positions, layer norms, biases everywhere, weights stored as (inputs, outputs). */

import { boolean, refuseTrue } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const gpt2 = decoderFamily(
  ['gpt2'],
  (at) => {
    refuseTrue(at, 'scale_attn_by_inverse_layer_idx', 'add_cross_attention');
    return {
      norm: { kind: 'layer', eps: ['layer_norm_epsilon', 1e-5] },
      activation: 'gelu_new',
      gate: 'none',
      defaults: { positions: 1024, widening: 4, tiedHead: true },
      keys: {
        hidden: ['n_embd', 'hidden_size'],
        layers: ['n_layer', 'num_hidden_layers'],
        heads: ['n_head', 'num_attention_heads'],
        kvHeads: [],
        neurons: ['n_inner'],
        positions: ['n_positions', 'max_position_embeddings'],
      },
      attention: boolean(at, 'scale_attn_weights', true) ? {} : { scale: 1 },
      learnedOffset: 0,
      bias: { qkv: true, out: true, ffn: true },
      fused: 'stacked',
      transposed: boolean(at, 'conv_1d', true),
      prefixes: ['transformer.', ''],
      names: {
        tokens: 'wte',
        positions: 'wpe',
        layers: 'h',
        finalNorm: 'ln_f',
        attentionNorm: 'ln_1',
        qkv: 'attn.c_attn',
        out: 'attn.c_proj',
        ffnNorm: 'ln_2',
        up: 'c_fc',
        down: 'c_proj',
      },
      bosId: 50_256,
      eosIds: [50_256],
    };
  },
  { activationKeys: ['activation_function'] },
);
