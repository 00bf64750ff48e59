/**
 * DeepSeek V3 and R1: the attention of V2, and a router with sigmoid scores that chooses by corrected
 * scores, from the best groups.
 */

import { boolean, type ConfigFile, firstInteger, limits, optionalInteger } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { commonExperts, type ExpertForm } from './decoder-traits.ts';
import { latentTraits, routedExperts, sharedExperts } from './deepseek-v2.ts';
import type { ExpertsSpec } from './spec.ts';

/** How many scores of a group determine its rank. */
const bestOfGroup = 2;

/** With the correction that is added to scores for the choice. */
export const correctedForm: ExpertForm = {
  ...commonExperts,
  correction: { source: 'mlp.gate.e_score_correction_bias' },
};

export const deepseekV3 = decoderFamily(['deepseek_v3'], (at) => ({
  ...latentTraits(at),
  defaults: { positions: 4096 },
  layersBehind: proposingLayers(at),
  bosId: 0,
  eosIds: [1],
  experts: {
    spec: correctedExperts(at, {
      ...{ count: 256, neurons: 2048, shared: 1, dense: 3, scale: 2.5 },
      ...{ topK: 8, groups: 8, topGroups: 4 },
    }),
    forms: [correctedForm],
    shared: sharedExperts,
  },
}));

/** How many layers after the last propose tokens. */
export function proposingLayers(at: ConfigFile): number {
  return optionalInteger(at, 'num_nextn_predict_layers', 1, limits.layers) ?? 0;
}

/** Values for fields that a configuration leaves out. */
type Defaults = Parameters<typeof routedExperts>[1] & {
  readonly [name in 'topK' | 'groups' | 'topGroups']: number;
};

/** Experts that are chosen by corrected sigmoid scores. */
export function correctedExperts(at: ConfigFile, defaults: Defaults): ExpertsSpec {
  const count = firstInteger(at, ['n_group'], defaults.groups, limits.experts);
  const topK = firstInteger(at, ['topk_group'], defaults.topGroups, limits.experts);
  return {
    ...routedExperts(at, defaults),
    topK: firstInteger(at, ['num_experts_per_tok'], defaults.topK, limits.experts),
    score: 'sigmoid',
    normalise: boolean(at, 'norm_topk_prob', true),
    // Taking all groups means no choice of groups.
    ...(topK !== count && { groups: { count, topK, best: bestOfGroup } }),
  };
}
