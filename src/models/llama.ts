/**
 * Llama and models of its form (Llama 1 to 3, ReluLLaMA with `hidden_act` relu, ProSparse with fatrelu
 * and its threshold `hidden_act_param`): RMS norm, rotary positions, grouped queries, gated FFN.
 */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const llama = decoderFamily(['llama', 'sparsellama'], (at) => {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
    activation: 'silu',
    gate: 'linear',
    bias: { qkv: attention, out: attention, ffn: boolean(at, 'mlp_bias', false) },
    bosId: 1,
    eosIds: [2],
  };
});
