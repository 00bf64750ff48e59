/** Phi's mixtures of experts: the form of Mistral with layer norms, biases, and a different router. */

import { boolean, type ConfigFile, number } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { ExpertForm } from './decoder-traits.ts';
import { commonExpertNames } from './expert-recipe.ts';
import { localExperts, mixtralExperts } from './mixtral.ts';
import { windowEverywhere } from './windows.ts';

/** As transformers 5 writes them. */
const commonForm: ExpertForm = {
  router: { source: 'mlp.router', bias: false },
  names: commonExpertNames,
};

export const phimoe = decoderFamily(['phimoe'], (at) => {
  const attention = boolean(at, 'attention_bias', false);
  return {
    norm: { kind: 'layer', eps: ['rms_norm_eps', 1e-5] },
    activation: 'silu',
    gate: 'linear',
    defaults: { positions: 131_072, kvHeads: 8 },
    theta: 1_000_000,
    windows: (at.config.sliding_window ?? null) === null ? [] : windowEverywhere(at),
    bias: { qkv: attention, out: attention, head: boolean(at, 'lm_head_bias', false) },
    experts: { spec: experts(at), forms: [mixtralExperts, commonForm] },
    bosId: 1,
    eosIds: [2],
  };
});

function experts(at: ConfigFile) {
  return {
    ...localExperts(at, 16, 2),
    // The published code takes two, whatever the configuration says.
    topK: 2,
    normalise: false,
    score: 'sparsemixer',
    jitter: number(at, 'router_jitter_noise', 0.01),
  } as const;
}
