/** Qwen3: the form of Llama with an RMS norm on each query and key head. */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { windowByLayer } from './windows.ts';

export const qwen3 = decoderFamily(['qwen3'], (at) => {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
    activation: 'silu',
    gate: 'linear',
    defaults: { positions: 32_768, kvHeads: 32, headDim: 128 },
    qkNorm: 'rms',
    windows: windowByLayer(at, 28),
    bias: { qkv: attention, out: attention },
    bosId: null,
    eosIds: [],
  };
});
