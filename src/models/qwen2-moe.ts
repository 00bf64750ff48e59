/**
 * Qwen2's mixtures of experts: the form of Qwen2, and beside the experts an FFN for all tokens with its own
 * gate.
 */

import { boolean, type ConfigFile, firstInteger, integer, limits } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import { commonExperts } from './decoder-traits.ts';
import { qwenExperts } from './qwen-moe.ts';
import { qwen2Traits } from './qwen2.ts';
import type { ModelSpec } from './spec.ts';
import { windowByLayer } from './windows.ts';

export const qwen2Moe = decoderFamily(['qwen2_moe'], (at) => ({
  ...qwen2Traits,
  defaults: { positions: 32_768, kvHeads: 16 },
  windows: windowsOf(at),
  bias: { qkv: boolean(at, 'qkv_bias', true) },
  experts: {
    spec: {
      ...qwenExperts(at, { count: 60, topK: 4, neurons: 1408 }),
      shared: firstInteger(at, ['shared_expert_intermediate_size'], 5632, limits.neurons),
      sharedGate: true,
    },
    forms: [commonExperts],
    shared: { source: 'mlp.shared_expert', gate: 'mlp.shared_expert_gate' },
  },
}));

/** Windows in every other one of the first layers, unless `layer_types` is given. */
function windowsOf(at: ConfigFile): ModelSpec['attention']['windows'] {
  if ((at.config.layer_types ?? null) !== null) return windowByLayer(at, 0);
  if (!boolean(at, 'use_sliding_window', false)) return [];
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  const first = firstInteger(at, ['max_window_layers'], 28);
  const layer_types = Array.from({ length: layers }, (_, layer) =>
    layer % 2 === 0 && layer < first ? 'sliding_attention' : 'full_attention',
  );
  return windowByLayer({ ...at, config: { ...at.config, layer_types } }, 0);
}
