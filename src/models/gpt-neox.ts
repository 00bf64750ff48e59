/** GPT-NeoX and Pythia: parallel attention and FFN, each after its own layer norm, biases everywhere. */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const gptNeox = decoderFamily(['gpt_neox'], (at) => {
  const attention = boolean(at, 'attention_bias', true);
  return {
    norm: { kind: 'layer', eps: ['layer_norm_eps', 1e-5] },
    activation: 'gelu',
    gate: 'none',
    block: boolean(at, 'use_parallel_residual', true) ? 'parallel' : 'sequential',
    twoNorms: true,
    evenHeads: true,
    keys: { kvHeads: [] },
    rotaryShare: 0.25,
    rotaryKeys: { theta: 'rotary_emb_base', partial: 'rotary_pct' },
    bias: { qkv: attention, out: attention, ffn: true },
    fused: 'grouped',
    prefixes: ['gpt_neox.', ''],
    // The names as released, and as transformers writes them today.
    heads: ['embed_out', 'lm_head'],
    names: {
      tokens: 'embed_in',
      finalNorm: 'final_layer_norm',
      qkv: 'attention.query_key_value',
      out: 'attention.dense',
      up: 'dense_h_to_4h',
      down: 'dense_4h_to_h',
    },
    bosId: 0,
    eosIds: [2],
  };
});
