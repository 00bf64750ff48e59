/** OLMo 2: the form of Llama with norms on the outputs of sublayers, and on all queries and all keys. */

import { boolean, type ConfigFile } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { DecoderTraits } from './decoder-traits.ts';

/** Traits of OLMo 2 and 3. */
export function olmo2Traits(at: ConfigFile) {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5], placement: 'output' },
    activation: 'silu',
    gate: 'linear',
    qkNorm: 'rms',
    attention: { qkNormOver: 'row' },
    bias: { qkv: attention, out: attention },
    bosId: null,
    eosIds: [50_279],
  } as const satisfies DecoderTraits;
}

export const olmo2 = decoderFamily(['olmo2'], olmo2Traits);
