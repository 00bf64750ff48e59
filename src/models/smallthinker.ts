/**
 * SmallThinker: experts with ReLU gates, chosen from the input of a layer, before attention; windows in
 * some layers, and no positions in some. Its code is published with its checkpoints.
 */

import { InputError } from '../errors.ts';
import {
  boolean,
  type ConfigFile,
  firstInteger,
  layerFlags,
  limits,
  refuseTrue,
} from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { ExpertForm } from './decoder-traits.ts';
import type { ExpertsSpec, ModelSpec } from './spec.ts';

const form: ExpertForm = {
  router: { source: 'block_sparse_moe.primary_router', bias: false },
  names: {
    prefix: 'block_sparse_moe.experts',
    gate: 'gate',
    up: 'up',
    down: 'down',
    gateUp: 'gate_up',
  },
};

export const smallthinker = decoderFamily(['smallthinker'], (at) => {
  // Fields of configurations before the first release; no published model has them.
  refuseTrue(at, 'moe_enable_secondary_experts', 'use_qk_norm');
  if (layerFlags(at, 'moe_layer_layout')?.includes(false)) {
    throw new InputError("'moe_layer_layout' has layers without experts, which is not supported", {
      file: at.file,
    });
  }
  const told = layerFlags(at, 'rope_layout');
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6] },
    activation: 'relu',
    gate: 'linear',
    defaults: { positions: 131_072, kvHeads: 2, headDim: 128, tiedHead: true },
    keys: { neurons: ['moe_ffn_hidden_size'] },
    theta: 1_000_000,
    windows: windowsOf(at),
    ...(told && { told }),
    experts: { spec: expertsOf(at), forms: [form] },
    bosId: 151_643,
    eosIds: [151_643, 151_645],
  };
});

function windowsOf(at: ConfigFile): ModelSpec['attention']['windows'] {
  const slides = layerFlags(at, 'sliding_window_layout');
  if (!slides?.includes(true)) return [];
  const window = firstInteger(at, ['sliding_window_size'], 4096);
  return slides.map((slide) => (slide ? window : null));
}

function expertsOf(at: ConfigFile): ExpertsSpec {
  return {
    count: firstInteger(at, ['moe_num_primary_experts'], 32, limits.experts),
    topK: firstInteger(at, ['moe_num_active_primary_experts'], 4, limits.experts),
    neurons: firstInteger(at, ['moe_ffn_hidden_size'], 768, limits.neurons),
    shared: 0,
    sharedGate: false,
    denseLayers: [],
    score: boolean(at, 'moe_primary_router_apply_softmax', false) ? 'softmax' : 'sigmoid',
    normalise: true,
    scale: 1,
    early: true,
  };
}
