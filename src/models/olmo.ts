/** OLMo 1: the form of Llama with layer norms without weights, and clipped queries, keys and values. */

import { boolean, optionalPositive } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const olmo = decoderFamily(['olmo'], (at) => {
  const attention = boolean(at, 'attention_bias', false);
  const clip = optionalPositive(at, 'clip_qkv', null);
  return {
    // No file gives its epsilon.
    norm: { kind: 'layer', eps: ['layer_norm_eps', 1e-5], plain: true },
    activation: 'silu',
    gate: 'linear',
    attention: clip === null ? {} : { clip },
    bias: { qkv: attention, out: attention },
    bosId: null,
    eosIds: [50_279],
  };
});
