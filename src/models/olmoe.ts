/**
 * OLMoE: the form of Llama with experts, a norm over all queries and one over all keys, and clipping of
 * queries, keys and values.
 */

import { boolean, firstInteger, limits, optionalPositive } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { commonExperts } from './decoder-traits.ts';

export const olmoe = decoderFamily(['olmoe'], (at) => {
  const attention = boolean(at, 'attention_bias', false);
  const clip = optionalPositive(at, 'clip_qkv', null);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
    activation: 'silu',
    gate: 'linear',
    defaults: { positions: 4096 },
    qkNorm: 'rms',
    attention: { qkNormOver: 'row', ...(clip !== null && { clip }) },
    bias: { qkv: attention, out: attention },
    experts: {
      spec: {
        ...{ shared: 0, sharedGate: false, denseLayers: [], score: 'softmax', scale: 1 },
        count: firstInteger(at, ['num_experts', 'num_local_experts'], 64, limits.experts),
        topK: firstInteger(at, ['num_experts_per_tok'], 8, limits.experts),
        neurons: firstInteger(at, ['intermediate_size'], 2048, limits.neurons),
        normalise: boolean(at, 'norm_topk_prob', false),
      },
      forms: [commonExperts],
    },
    bosId: null,
    eosIds: [50_279],
  };
});
