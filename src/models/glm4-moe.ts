/**
 * GLM-4.5 and its successors: the form of Llama with half of each head rotated and the experts of DeepSeek
 * V3.
 */

import { boolean } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { sharedExperts } from './deepseek-v2.ts';
import { correctedExperts, correctedForm, proposingLayers } from './deepseek-v3.ts';

export const glm4Moe = decoderFamily(['glm4_moe'], (at) => ({
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
  activation: 'silu',
  gate: 'linear',
  defaults: { positions: 131_072, kvHeads: 8 },
  rotaryShare: 0.5,
  ...(boolean(at, 'use_qk_norm', false) && { qkNorm: 'rms' }),
  bias: { qkv: boolean(at, 'attention_bias', false) },
  layersBehind: proposingLayers(at),
  experts: {
    spec: correctedExperts(at, {
      ...{ count: 128, neurons: 1408, shared: 1, dense: 1, scale: 1 },
      ...{ topK: 8, groups: 1, topGroups: 1 },
    }),
    forms: [correctedForm],
    shared: sharedExperts,
  },
  bosId: null,
  eosIds: [],
}));
