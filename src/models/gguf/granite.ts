/** Granite and MiniCPM: Llama with factors on embedding, sublayers and logits. */

import { biases, relative } from './llama.ts';

export const granite = relative({
  name: 'granite',
  modelType: 'granite',
  activation: 'silu',
  pairs: true,
  fields: (geometry) => {
    const { keys, headDim } = geometry;
    return {
      embedding_multiplier: keys.numberOr('embedding_scale', 1),
      residual_multiplier: keys.numberOr('residual_scale', 1),
      attention_multiplier: keys.numberOr('attention.scale', headDim ** -0.5),
      logits_scaling: keys.numberOr('logit_scale', 1),
      ...biases(geometry),
    };
  },
});

export const minicpm = relative({
  name: 'minicpm',
  modelType: 'minicpm',
  activation: 'silu',
  pairs: true,
  fields: ({ keys, layers, hidden }) => ({
    scale_emb: keys.number('embedding_scale'),
    scale_depth: keys.number('residual_scale') * Math.sqrt(layers),
    dim_model_base: hidden / keys.number('logit_scale'),
  }),
});
