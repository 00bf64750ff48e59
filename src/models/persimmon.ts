/**
 * Persimmon: squared ReLU, rotary positions on half of each head, a layer norm on each query and key head,
 * biases everywhere except in the head.
 */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const persimmon = decoderFamily(['persimmon'], (at) => ({
  norm: { kind: 'layer', eps: ['layer_norm_eps', 1e-5] },
  activation: 'relu2',
  gate: 'none',
  rotaryShare: 0.5,
  evenHeads: true,
  defaults: { positions: 16_384 },
  qkNorm: boolean(at, 'qk_layernorm', true) ? 'layer' : 'none',
  bias: { qkv: true, out: true, ffn: true },
  bosId: 1,
  eosIds: [2],
  fused: 'grouped',
  keys: { kvHeads: [] },
  names: {
    out: 'self_attn.dense',
    queryNorm: 'self_attn.q_layernorm',
    keyNorm: 'self_attn.k_layernorm',
    up: 'dense_h_to_4h',
    down: 'dense_4h_to_h',
    finalNorm: 'final_layernorm',
  },
}));
