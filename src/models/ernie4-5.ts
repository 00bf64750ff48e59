/** ERNIE 4.5, dense: the form of Llama with rotary pairs side by side. */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const ernie45 = decoderFamily(['ernie4_5'], (at) => {
  const bias = boolean(at, 'use_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
    activation: 'silu',
    gate: 'linear',
    defaults: { positions: 131_072, kvHeads: 2, headDim: 128, tiedHead: true },
    theta: 500_000,
    interleaved: true,
    bias: { qkv: bias, out: bias, ffn: bias },
    bosId: 1,
    eosIds: [2],
  };
});
