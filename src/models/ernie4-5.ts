/** ERNIE 4.5: the form of Llama with adjacent rotary pairs; and its mixtures of experts. */

import {
  boolean,
  type ConfigFile,
  firstInteger,
  integer,
  limits,
  optionalInteger,
  refuseTrue,
} from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { commonExperts, type DecoderTraits, type ExpertForm } from './decoder-traits.ts';
import { sharedExperts } from './deepseek-v2.ts';
import type { ExpertsSpec } from './spec.ts';

const traits = {
  norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
  activation: 'silu',
  gate: 'linear',
  theta: 500_000,
  interleaved: true,
  bosId: 1,
  eosIds: [2],
} as const satisfies DecoderTraits;

export const ernie45 = decoderFamily(['ernie4_5'], (at) => {
  const bias = boolean(at, 'use_bias', false);
  return {
    ...traits,
    defaults: { positions: 131_072, kvHeads: 2, headDim: 128, tiedHead: true },
    bias: { qkv: bias, out: bias, ffn: bias },
  };
});

const form: ExpertForm = {
  ...commonExperts,
  correction: { source: 'mlp.moe_statics.e_score_correction_bias', row: true },
};

export const ernie45Moe = decoderFamily(['ernie4_5_moe'], (at) => {
  refuseTrue(at, 'use_bias');
  return {
    ...traits,
    defaults: { positions: 131_072, kvHeads: 4, tiedHead: true },
    experts: { spec: expertsOf(at), forms: [form], shared: sharedExperts },
  };
});

/** Chosen by softmax with a correction, weights divided by their sum. */
function expertsOf(at: ConfigFile): ExpertsSpec {
  const neurons = firstInteger(at, ['moe_intermediate_size'], 1536, limits.neurons);
  const shared = optionalInteger(at, 'moe_num_shared_experts', 2, limits.experts) ?? 0;
  return {
    count: firstInteger(at, ['moe_num_experts', 'num_experts'], 64, limits.experts),
    topK: firstInteger(at, ['moe_k', 'num_experts_per_tok'], 6, limits.experts),
    neurons,
    shared: shared * neurons,
    sharedGate: false,
    denseLayers: denseLayersOf(at),
    score: 'softmax',
    normalise: true,
    scale: 1,
  };
}

/**
 * The layers without experts. Between the first and the last layer with experts, every
 * `moe_layer_interval`th layer has them.
 */
function denseLayersOf(at: ConfigFile): number[] {
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  const first = optionalInteger(at, 'moe_layer_start_index', 1) ?? 1;
  const given: unknown = at.config.moe_layer_end_index ?? -1;
  const last = given === -1 ? layers - 1 : integer(at, 'moe_layer_end_index');
  const step = firstInteger(at, ['moe_layer_interval'], 1);
  return Array.from({ length: layers }, (_, layer) => layer).filter(
    (layer) => layer < first || layer > last || (layer + 1) % step !== 0,
  );
}
