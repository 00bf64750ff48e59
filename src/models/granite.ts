/** Granite: the form of Llama with factors on embedding, scores, sublayers and logits. */

import { boolean, type ConfigFile, positiveNumber } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { DecoderTraits } from './decoder-traits.ts';

/** Traits of all Granite models, with or without experts. */
export function graniteTraits(at: ConfigFile) {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
    activation: 'silu',
    gate: 'linear',
    attention: { scale: positiveNumber(at, 'attention_multiplier', 1) },
    scales: {
      embeddingScale: positiveNumber(at, 'embedding_multiplier', 1),
      residualScale: positiveNumber(at, 'residual_multiplier', 1),
      logitScale: 1 / positiveNumber(at, 'logits_scaling', 1),
    },
    bias: { qkv: attention, out: attention },
    bosId: 1,
    eosIds: [2],
  } as const satisfies DecoderTraits;
}

export const granite = decoderFamily(['granite'], (at) => {
  const traits = graniteTraits(at);
  return { ...traits, bias: { ...traits.bias, ffn: boolean(at, 'mlp_bias', false) } };
});
