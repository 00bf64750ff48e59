/** Code that Qwen's mixtures of experts share. */

import { brief } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { boolean, type ConfigFile, firstInteger, integer, limits } from './config.ts';
import type { ExpertsSpec } from './spec.ts';

/** Defaults for the number of experts and the number that each token takes. */
interface Defaults {
  readonly count: number;
  readonly topK: number;
  readonly neurons: number;
}

/** The experts that a configuration describes, without a shared FFN. */
export function qwenExperts(at: ConfigFile, { count, topK, neurons }: Defaults): ExpertsSpec {
  return {
    count: firstInteger(at, ['num_experts', 'num_local_experts'], count, limits.experts),
    topK: firstInteger(at, ['num_experts_per_tok'], topK, limits.experts),
    neurons: firstInteger(at, ['moe_intermediate_size'], neurons, limits.neurons),
    shared: 0,
    sharedGate: false,
    denseLayers: denseLayersOf(at),
    score: 'softmax',
    normalise: boolean(at, 'norm_topk_prob', false),
    scale: 1,
  };
}

/** Layers without experts: those of `mlp_only_layers`, and all except every `decoder_sparse_step`th. */
function denseLayersOf(at: ConfigFile): number[] {
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  const step = firstInteger(at, ['decoder_sparse_step'], 1);
  const listed: unknown = at.config.mlp_only_layers ?? [];
  if (!Array.isArray(listed) || !listed.every((layer) => Number.isInteger(layer))) {
    throw new InputError(`'mlp_only_layers' is not a list of layers: ${brief(listed)}`, {
      file: at.file,
    });
  }
  const only = new Set<unknown>(listed);
  return Array.from({ length: layers }, (_, layer) => layer).filter(
    (layer) => only.has(layer) || (layer + 1) % step !== 0,
  );
}
