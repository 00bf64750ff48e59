/** Qwen2 and 2.5: the form of Llama with biases on queries, keys and values, and windows in later layers. */

import { decoderFamily } from './decoder-family.ts';
import type { DecoderTraits } from './decoder-traits.ts';
import { windowByLayer } from './windows.ts';

/** Traits of all Qwen2 models, with or without experts. */
export const qwen2Traits = {
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
  activation: 'silu',
  gate: 'linear',
  bias: { qkv: true },
  bosId: null,
  eosIds: [],
} as const satisfies DecoderTraits;

export const qwen2 = decoderFamily(['qwen2'], (at) => ({
  ...qwen2Traits,
  defaults: { positions: 32_768, kvHeads: 32 },
  windows: windowByLayer(at, 28),
}));
