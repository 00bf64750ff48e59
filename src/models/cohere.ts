/**
 * Cohere's Command R: parallel attention and FFN after one layer norm without biases, adjacent rotary
 * pairs, scaled logits; in Command R+ each query and key head has its own norm.
 */

import { boolean, type ConfigFile, positiveNumber } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { DecoderTraits } from './decoder-traits.ts';

/** Traits of all generations of Command. */
export function cohereTraits(at: ConfigFile) {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'layer', eps: ['layer_norm_eps', 1e-5], bias: false },
    activation: 'silu',
    gate: 'linear',
    block: 'parallel',
    interleaved: true,
    defaults: { positions: 8192, tiedHead: true },
    scales: { logitScale: positiveNumber(at, 'logit_scale', 0.0625) },
    bias: { qkv: attention, out: attention },
    bosId: 5,
    eosIds: [255_001],
  } as const satisfies DecoderTraits;
}

export const cohere = decoderFamily(['cohere'], (at) => ({
  ...cohereTraits(at),
  ...(boolean(at, 'use_qk_norm', false) && {
    qkNorm: 'layer',
    attention: { qkNormOver: 'heads' },
  }),
  theta: 500_000,
}));
