/**
 * DeepSeek V3 and R1: the attention of V2, and a router of sigmoids that chooses by corrected scores, from
 * the best groups.
 */

import { boolean, type ConfigFile, firstInteger, limits, optionalInteger } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { commonExperts, type ExpertForm } from './decoder-traits.ts';
import { latentExperts, latentTraits, sharedExperts } from './deepseek-v2.ts';
import type { ExpertsSpec } from './spec.ts';

/** How many scores of a group tell what it is worth. */
const bestOfGroup = 2;

const form: ExpertForm = { ...commonExperts, correction: 'mlp.gate.e_score_correction_bias' };

export const deepseekV3 = decoderFamily(['deepseek_v3'], (at) => ({
  ...latentTraits(at),
  defaults: { positions: 4096 },
  // They propose tokens.
  layersBehind: optionalInteger(at, 'num_nextn_predict_layers', 1, limits.layers) ?? 0,
  bosId: 0,
  eosIds: [1],
  experts: { spec: expertsOf(at), forms: [form], shared: sharedExperts },
}));

function expertsOf(at: ConfigFile): ExpertsSpec {
  const count = firstInteger(at, ['n_group'], 8, limits.experts);
  const topK = firstInteger(at, ['topk_group'], 4, limits.experts);
  return {
    ...latentExperts(at, { count: 256, neurons: 2048, shared: 1, dense: 3, scale: 2.5 }),
    topK: firstInteger(at, ['num_experts_per_tok'], 8, limits.experts),
    score: 'sigmoid',
    normalise: boolean(at, 'norm_topk_prob', true),
    // All of them are no choice.
    ...(topK !== count && { groups: { count, topK, best: bestOfGroup } }),
  };
}
