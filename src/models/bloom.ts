/** BLOOM: ALiBi, layer norms, one of them after the embedding, biases everywhere. */

import { refuseTrue } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const bloom = decoderFamily(['bloom'], (at) => {
  refuseTrue(at, 'apply_residual_connection_post_layernorm');
  return {
    norm: { kind: 'layer', eps: ['layer_norm_epsilon', 1e-5], embedding: true },
    activation: 'gelu_new',
    gate: 'none',
    defaults: { widening: 4, tiedHead: true },
    keys: {
      hidden: ['n_embed', 'hidden_size'],
      layers: ['n_layer', 'num_hidden_layers'],
      heads: ['n_head', 'num_attention_heads'],
      kvHeads: [],
      neurons: [],
      positions: ['seq_length'],
    },
    positions: (_at, _headDim, trained) => ({
      positions: { kind: 'alibi', form: 'plain' },
      maxPositions: trained,
    }),
    bias: { qkv: true, out: true, ffn: true },
    fused: 'grouped',
    prefixes: ['transformer.', ''],
    names: {
      tokens: 'word_embeddings',
      embeddingNorm: 'word_embeddings_layernorm',
      layers: 'h',
      finalNorm: 'ln_f',
      qkv: 'self_attention.query_key_value',
      out: 'self_attention.dense',
      up: 'dense_h_to_4h',
      down: 'dense_4h_to_h',
    },
    bosId: 1,
    eosIds: [2],
  };
});
