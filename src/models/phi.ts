/**
 * Phi-1, 1.5 and 2, also relufied: parallel attention and FFN after one norm, rotary positions on a part of
 * each head, biases everywhere.
 */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const phi = decoderFamily(['phi'], (at) => ({
  norm: { kind: 'layer', eps: ['layer_norm_eps', 1e-5] },
  activation: 'gelu_new',
  gate: 'none',
  block: 'parallel',
  rotaryShare: 0.5,
  qkNorm: boolean(at, 'qk_layernorm', false) ? 'layer' : 'none',
  bias: { qkv: true, out: true, ffn: true, head: true },
  bosId: 1,
  eosIds: [2],
  names: {
    out: 'self_attn.dense',
    queryNorm: 'self_attn.q_layernorm',
    keyNorm: 'self_attn.k_layernorm',
    up: 'fc1',
    down: 'fc2',
    finalNorm: 'final_layernorm',
  },
}));
