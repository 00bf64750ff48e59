/**
 * Granite's mixtures of experts: the form of Llama with experts, and factors on embedding, scores,
 * sublayers and logits.
 */

import { limits, optionalInteger } from './config.ts';
import { decoderFamily } from './decoder-family.ts';
import type { ExpertForm } from './decoder-traits.ts';
import { graniteTraits } from './granite.ts';
import { localExperts } from './mixtral.ts';

/** Gate and up rows of all experts in one tensor; the second form is transformers 5's. */
const forms: readonly [ExpertForm, ExpertForm] = [
  form('router.layer', 'block_sparse_moe', 'input_linear', 'output_linear'),
  form('router', 'block_sparse_moe.experts', 'gate_up_proj', 'down_proj'),
];

function form(router: string, prefix: string, gateUp: string, down: string): ExpertForm {
  return {
    router: { source: `block_sparse_moe.${router}`, bias: false },
    names: { prefix, gate: 'gate_proj', up: 'up_proj', down, gateUp },
  };
}

export const granitemoe = decoderFamily(['granitemoe'], (at) => ({
  ...graniteTraits(at),
  experts: { spec: localExperts(at, 8, 2), forms },
}));

/**
 * With an FFN for all tokens beside the experts; its gate and up rows are one projection, except in GGUF
 * files.
 */
export const granitemoeShared = decoderFamily(['granitemoeshared'], (at) => ({
  ...graniteTraits(at),
  experts: {
    spec: {
      ...localExperts(at, 8, 2),
      shared: optionalInteger(at, 'shared_intermediate_size', 0, limits.neurons) ?? 0,
    },
    forms,
    shared: {
      source: 'shared_mlp',
      fused: { gateUp: 'input_linear', down: 'output_linear' },
    },
  },
}));
