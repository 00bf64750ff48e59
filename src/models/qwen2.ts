/** Qwen2 and 2.5: the form of Llama with biases on queries, keys and values, and windows in later layers. */

import { decoderFamily } from './decoder-family.ts';
import { windowByLayer } from './windows.ts';

export const qwen2 = decoderFamily(['qwen2'], (at) => ({
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
  activation: 'silu',
  gate: 'linear',
  defaults: { positions: 32_768, kvHeads: 32 },
  windows: windowByLayer(at, 28),
  bias: { qkv: true },
  bosId: null,
  eosIds: [],
}));
