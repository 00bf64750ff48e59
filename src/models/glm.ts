/** GLM-4: the form of Llama with a fused gate and adjacent rotary pairs on half of each head. */

import { boolean, type ConfigFile } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { DecoderTraits } from './decoder-traits.ts';

/** Traits of GLM-4 of 2024 and of 2025. */
export function glmTraits(at: ConfigFile) {
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1.5625e-7] },
    activation: 'silu',
    gate: 'linear',
    rotaryShare: 0.5,
    interleaved: true,
    defaults: { positions: 131_072, kvHeads: 2, headDim: 128 },
    bias: { qkv: boolean(at, 'attention_bias', true) },
    fusedGate: true,
    bosId: null,
    eosIds: [151_329, 151_336, 151_338],
  } as const satisfies DecoderTraits;
}

// Some of its GGUF files have queries, keys and values in one matrix.
export const glm = decoderFamily(['glm'], (at) => ({ ...glmTraits(at), fused: 'stacked' }));
