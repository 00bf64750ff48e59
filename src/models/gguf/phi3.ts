/** Phi-3 and 4: fused projections. */

import { relative } from './llama.ts';

export const phi3 = relative({
  name: 'phi3',
  modelType: 'phi3',
  activation: 'silu',
  partial: true,
  names: { attn_qkv: 'self_attn.qkv_proj', ffn_up: 'mlp.gate_up_proj' },
  fields: ({ keys }) => {
    const window = keys.numberOr('attention.sliding_window', 0);
    return { sliding_window: window === 0 ? null : window };
  },
});
