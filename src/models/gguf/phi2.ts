/** Phi-2: parallel attention and FFN; queries, keys and values are separate, or stacked in one tensor. */

import { limits } from '../config.ts';
import { rowsFrom } from '../row-order.ts';
import { blockTensor, byTables, geometryOf } from './common.ts';
import { blockPrefix } from './llama.ts';
import type { GgufArchitecture } from './translation.ts';

const name = 'phi2';

const plainNames = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.final_layernorm',
  output: 'lm_head',
} as const;

const blockNames = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.dense',
  ffn_up: 'mlp.fc1',
  ffn_down: 'mlp.fc2',
} as const;

export const phi2: GgufArchitecture = {
  name,
  translate(facts) {
    const { config, keys, heads, kvHeads, headDim, rotaryDim } = geometryOf(facts, name);
    const rows = { q: heads * headDim, kv: kvHeads * headDim };
    return {
      config: {
        model_type: 'phi',
        ...config,
        num_key_value_heads: kvHeads,
        intermediate_size: keys.integer('feed_forward_length', undefined, limits.neurons),
        hidden_act: 'gelu_new',
        layer_norm_eps: keys.number('attention.layer_norm_epsilon'),
        partial_rotary_factor: rotaryDim / headDim,
        qk_layernorm: false,
      },
      translate: (tensor) => {
        const { layer, part, kind } = blockTensor(tensor) ?? {};
        if (layer === undefined || part !== 'attn_qkv') {
          return byTables(tensor, plainNames, blockNames, blockPrefix);
        }
        const at = `${blockPrefix(layer)}.self_attn`;
        return [
          { name: `${at}.q_proj.${kind}`, rows: rowsFrom(0, rows.q) },
          { name: `${at}.k_proj.${kind}`, rows: rowsFrom(rows.q, rows.kv) },
          { name: `${at}.v_proj.${kind}`, rows: rowsFrom(rows.q + rows.kv, rows.kv) },
        ];
      },
    };
  },
};
