/** Arcee (AFM): the form of Llama with a squared ReLU in place of a gate. */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const arcee = decoderFamily(['arcee'], (at) => {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
    activation: 'relu2',
    defaults: { positions: 4096 },
    gate: 'none',
    bias: { qkv: attention, out: attention, ffn: boolean(at, 'mlp_bias', false) },
    bosId: 128_000,
    eosIds: [128_001],
  };
});
