/**
 * Nemotron (Minitron and relatives): squared ReLU, rotary positions on half of each head, layer norms whose
 * weights are stored minus 1.
 */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const nemotron = decoderFamily(['nemotron'], (at) => {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'layer', eps: ['norm_eps', 1e-5], plus: 1 },
    activation: 'relu2',
    gate: 'none',
    rotaryShare: 0.5,
    defaults: { positions: 4096 },
    bias: { qkv: attention, out: attention, ffn: boolean(at, 'mlp_bias', false) },
    bosId: 2,
    eosIds: [3],
  };
});
