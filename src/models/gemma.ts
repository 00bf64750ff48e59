/** Gemma: the form of Llama with GELU gates, a scaled embedding, and norms whose weights are kept around 0. */

import { boolean, type ConfigFile, integer, limits } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { DecoderTraits } from './decoder-traits.ts';
import type { Family } from './spec.ts';

/** Traits of all generations of Gemma. */
export function gemmaTraits(at: ConfigFile) {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6], plus: 1 },
    activation: 'gelu_pytorch_tanh',
    gate: 'linear',
    defaults: { positions: 8192, headDim: 256, tiedHead: true },
    bias: { qkv: attention, out: attention },
    scales: { embeddingScale: integer(at, 'hidden_size', limits.hiddenSize) ** 0.5 },
    bosId: 2,
    eosIds: [1],
  } as const satisfies DecoderTraits;
}

const plain = decoderFamily(['gemma'], (at) => {
  const traits = gemmaTraits(at);
  return { ...traits, defaults: { ...traits.defaults, kvHeads: 16 } };
});

export const gemma: Family = {
  ...plain,
  recipe: (facts) => {
    const { config } = facts;
    // The first files say gelu but mean its tanh approximation.
    const isOld = config.hidden_act === 'gelu';
    const meant = isOld ? { ...config, hidden_act: 'gelu_pytorch_tanh' } : config;
    return plain.recipe({ ...facts, config: meant });
  },
};
