/** Seed-OSS: the form of Llama with biases on queries, keys and values. */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const seedOss = decoderFamily(['seed_oss'], (at) => ({
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
  activation: 'silu',
  gate: 'linear',
  defaults: { positions: 524_288, kvHeads: 8, headDim: 128 },
  bias: {
    qkv: boolean(at, 'attention_bias', true),
    out: boolean(at, 'attention_out_bias', false),
    ffn: boolean(at, 'mlp_bias', false),
  },
  bosId: 0,
  eosIds: [2],
}));
