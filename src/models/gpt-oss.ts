/**
 * gpt-oss: experts in MXFP4 with biases and clamped gates, attention sinks, windows in every other layer.
 */

import {
  boolean,
  type ConfigFile,
  integer,
  limits,
  optionalInteger,
  positiveNumber,
} from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { ExpertForm } from './decoder-traits.ts';
import { commonExpertNames } from './expert-recipe.ts';
import { localExperts } from './mixtral.ts';
import type { ModelSpec } from './spec.ts';
import { windowByLayer } from './windows.ts';

const apart = { gate: 'gate_proj.bias', up: 'up_proj.bias' } as const;

/**
 * Gate and up rows alternate, and are transposed unless they are stored in blocks; they are separate if the
 * checkpoint is a GGUF file.
 */
function formOf({ config }: ConfigFile): ExpertForm {
  return {
    router: { source: 'mlp.router', bias: true },
    names: {
      ...commonExpertNames,
      interleaved: true,
      transposed: (config.quantization_config ?? null) === null,
      biases: { ...apart, gateUp: 'gate_up_proj_bias', down: 'down_proj_bias' },
    },
  };
}

export const gptOss = decoderFamily(['gpt_oss'], (at) => {
  const attention = boolean(at, 'attention_bias', true);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-5] },
    activation: 'silu',
    gate: 'clamped',
    clamped: {
      limit: positiveNumber(at, 'swiglu_limit', 7),
      steepness: positiveNumber(at, 'swiglu_alpha', 1.702),
    },
    theta: 150_000,
    defaults: { positions: 131_072, kvHeads: 8, headDim: 64 },
    attention: { sinks: true },
    windows: windowsOf(at),
    bias: { qkv: attention, out: attention },
    experts: { spec: localExperts(at, 128, 4), forms: [formOf(at)] },
    bosId: null,
    eosIds: [],
  };
});

/** Windows in the first of every two layers, if `layer_types` is absent. */
function windowsOf(at: ConfigFile): ModelSpec['attention']['windows'] {
  const sliding_window = optionalInteger(at, 'sliding_window', 128);
  if (sliding_window === null) return [];
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  const layer_types =
    at.config.layer_types ??
    Array.from({ length: layers }, (_, layer) =>
      layer % 2 === 0 ? 'sliding_attention' : 'full_attention',
    );
  const config = { ...at.config, sliding_window, layer_types, use_sliding_window: true };
  return windowByLayer({ ...at, config }, 0);
}
