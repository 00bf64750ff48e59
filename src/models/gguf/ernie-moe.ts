/** ERNIE 4.5's mixtures of experts: the correction is a row in checkpoints. */

import { limits } from '../config.ts';
import { correctedExpertNames, correctionAsStored, expertCounts } from './experts.ts';
import { relative } from './llama.ts';
import type { GgufArchitecture, Translated } from './translation.ts';

const names = relative({
  name: 'ernie4_5-moe',
  modelType: 'ernie4_5_moe',
  activation: 'silu',
  blocks: correctedExpertNames,
  fields: (geometry) => {
    const { keys } = geometry;
    const { count, topK, neurons } = expertCounts(geometry);
    return {
      moe_num_experts: count,
      moe_k: topK,
      moe_intermediate_size: neurons,
      moe_num_shared_experts: keys.numberOr('expert_shared_count', 0),
      moe_layer_start_index: keys.numberOr('leading_dense_block_count', 0),
      moe_layer_interval: keys.integer('interleave_moe_layer_step', 1, limits.layers),
    };
  },
});

export const ernie45moe: GgufArchitecture = {
  name: names.name,
  translate: (facts) => {
    const { config, translate } = names.translate(facts);
    const count = Number(config.moe_num_experts);
    return {
      config,
      translate: (tensor) =>
        translate(tensor)?.map((found) => asRow(correctionAsStored(found), count)),
    };
  },
};

function asRow(translated: Translated, count: number): Translated {
  const name = translated.name.replace('.gate.e_score', '.moe_statics.e_score');
  return name === translated.name ? translated : { ...translated, name, shape: [1, count] };
}
