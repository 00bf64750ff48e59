/** Nemotron: layer norms; GGUF stores their weights with the 1 that the checkpoint leaves out. */

import { biases, relative } from './llama.ts';

export const nemotron = relative({
  name: 'nemotron',
  modelType: 'nemotron',
  activation: 'relu2',
  partial: true,
  layerNormEps: 'norm_eps',
  normOffset: 1,
  fields: biases,
});
