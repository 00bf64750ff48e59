/** Mixtral: the form of Mistral with experts. */

import { type ConfigFile, firstInteger, integer, limits } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { commonExperts, type ExpertForm } from './decoder-traits.ts';
import type { ExpertsSpec } from './spec.ts';
import { windowEverywhere } from './windows.ts';

/** Names of gate, up and down in checkpoints; those that transformers 5 writes have the common names. */
export const mixtralExperts: ExpertForm = {
  router: { source: 'block_sparse_moe.gate', bias: false },
  names: {
    prefix: 'block_sparse_moe.experts',
    gate: 'w1',
    up: 'w3',
    down: 'w2',
    gateUp: 'gate_up_proj',
  },
};

/** Experts in all layers, as wide as `intermediate_size`, whose weights sum to 1. */
export function localExperts(at: ConfigFile, count: number, topK: number): ExpertsSpec {
  return {
    count: firstInteger(at, ['num_local_experts', 'num_experts'], count, limits.experts),
    topK: firstInteger(at, ['num_experts_per_tok'], topK, limits.experts),
    neurons: integer(at, 'intermediate_size', limits.neurons),
    shared: 0,
    sharedGate: false,
    denseLayers: [],
    score: 'softmax',
    normalise: true,
    scale: 1,
  };
}

export const mixtral = decoderFamily(['mixtral'], (at) => ({
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
  activation: 'silu',
  gate: 'linear',
  defaults: { positions: 131_072, kvHeads: 8 },
  theta: 1_000_000,
  windows: (at.config.sliding_window ?? null) === null ? [] : windowEverywhere(at),
  experts: { spec: localExperts(at, 8, 2), forms: [mixtralExperts, commonExperts] },
  bosId: 1,
  eosIds: [2],
}));
