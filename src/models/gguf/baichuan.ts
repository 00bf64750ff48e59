/**
 * Baichuan: Llama's names, queries, keys and values apart. A file does not say how positions are told: as in
 * llama.cpp, the models of 40 layers have ALiBi.
 */

import { relative } from './llama.ts';

const layersWithAlibi = 40;

export const baichuan = relative({
  name: 'baichuan',
  modelType: 'baichuan',
  activation: 'silu',
  pairs: true,
  fields: ({ layers, keys }) =>
    layers === layersWithAlibi
      ? { max_position_embeddings: null, model_max_length: keys.integer('context_length') }
      : {},
});
