/**
 * MiniCPM, also MiniCPM-S with its fatrelu: the form of Llama with a scaled embedding, sublayers scaled by
 * depth, and logits scaled by width.
 */

import { integer, limits, positiveNumber } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const minicpm = decoderFamily(['minicpm'], (at) => {
  const hidden = integer(at, 'hidden_size', limits.hiddenSize);
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
    activation: 'silu',
    gate: 'linear',
    defaults: { tiedHead: true },
    scales: {
      embeddingScale: positiveNumber(at, 'scale_emb', 1),
      residualScale: positiveNumber(at, 'scale_depth', 1) / Math.sqrt(layers),
      logitScale: positiveNumber(at, 'dim_model_base', 1) / hidden,
    },
    bosId: 1,
    eosIds: [2],
  };
});
