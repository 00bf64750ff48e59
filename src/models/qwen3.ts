/** Qwen3: the form of Llama with an RMS norm on each query and key head. */

import { boolean, type ConfigFile } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { DecoderTraits } from './decoder-traits.ts';
import { windowByLayer } from './windows.ts';

/** Traits of all Qwen3 models, with or without experts. */
export function qwen3Traits(at: ConfigFile) {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
    activation: 'silu',
    gate: 'linear',
    qkNorm: 'rms',
    bias: { qkv: attention, out: attention },
    bosId: null,
    eosIds: [],
  } as const satisfies DecoderTraits;
}

export const qwen3 = decoderFamily(['qwen3'], (at) => ({
  ...qwen3Traits(at),
  defaults: { positions: 32_768, kvHeads: 32, headDim: 128 },
  windows: windowByLayer(at, 28),
}));
