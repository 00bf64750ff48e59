/** SmallThinker: its windows, and which layers use positions, follow from one key. */

import { expertCounts, gatingOf } from './experts.ts';
import { relative } from './llama.ts';

const expert = (part: string) => `block_sparse_moe.experts.${part}`;

/**
 * In models with windows, the first layer of each group of this size has no window and uses no positions.
 */
const period = 4;

export const smallthinker = relative({
  name: 'smallthinker',
  modelType: 'smallthinker',
  activation: 'relu',
  blocks: {
    ffn_gate_inp: 'block_sparse_moe.primary_router',
    ffn_gate_exps: expert('gate'),
    ffn_up_exps: expert('up'),
    ffn_down_exps: expert('down'),
    ffn_gate_up_exps: expert('gate_up'),
  },
  fields: (geometry, facts) => {
    const { keys, layers } = geometry;
    const { count, topK, neurons } = expertCounts(geometry);
    const window = keys.numberOr('attention.sliding_window', 0);
    const layout = Array.from({ length: layers }, (_, layer) => (layer % period === 0 ? 0 : 1));
    return {
      moe_num_primary_experts: count,
      moe_num_active_primary_experts: topK,
      moe_ffn_hidden_size: neurons,
      moe_primary_router_apply_softmax: gatingOf(geometry, facts) === 'softmax',
      ...(window !== 0 && {
        rope_layout: layout,
        sliding_window_layout: layout,
        sliding_window_size: window,
      }),
    };
  },
});
