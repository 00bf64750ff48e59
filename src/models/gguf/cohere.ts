/** Cohere's Command R and its successors. */

import { relative } from './llama.ts';

const common = { activation: 'silu', layerNormEps: 'layer_norm_eps' } as const;

export const commandR = relative({
  ...common,
  name: 'command-r',
  modelType: 'cohere',
  fields: ({ keys }) => ({
    logit_scale: keys.number('logit_scale'),
    use_qk_norm: keys.has('blk.0.attn_q_norm.weight'),
  }),
});

export const cohere2 = relative({
  ...common,
  name: 'cohere2',
  modelType: 'cohere2',
  fields: ({ keys }) => ({
    logit_scale: keys.number('logit_scale'),
    sliding_window: keys.integer('attention.sliding_window'),
  }),
});
