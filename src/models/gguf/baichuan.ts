/**
 * Baichuan: Llama's names, with separate queries, keys and values. A file does not name the kind of
 * positions: as in llama.cpp, models of 40 layers have ALiBi.
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
