/**
 * Falcon: GGUF stacks all queries, all keys, all values; the checkpoint stacks, for each head of
 * keys and values, its queries, its key, its value.
 */

import { limits } from '../config.ts';
import { byTables, checkFullRotary, geometryOf, groupedRows } from './common.ts';
import type { GgufArchitecture } from './translation.ts';

const name = 'falcon';

const plainNames = {
  token_embd: 'transformer.word_embeddings',
  output_norm: 'transformer.ln_f',
  output: 'lm_head',
} as const;

const commonBlockNames = {
  attn_qkv: 'self_attention.query_key_value',
  attn_output: 'self_attention.dense',
  ffn_up: 'mlp.dense_h_to_4h',
  ffn_down: 'mlp.dense_4h_to_h',
} as const;
/** With one norm for both, and with one each. */
const oneNorm = { ...commonBlockNames, attn_norm: 'input_layernorm' } as const;
const twoNorms = { ...commonBlockNames, attn_norm: 'ln_mlp', attn_norm_2: 'ln_attn' } as const;

export const falcon: GgufArchitecture = {
  name,
  translate(facts) {
    const geometry = geometryOf(facts, name);
    checkFullRotary(geometry, facts);
    const { config, keys, heads, kvHeads } = geometry;
    const hasTwoNorms = keys.has('blk.0.attn_norm_2.weight');
    const blockNames = hasTwoNorms ? twoNorms : oneNorm;
    return {
      config: {
        model_type: 'falcon',
        ...config,
        num_kv_heads: kvHeads,
        new_decoder_architecture: hasTwoNorms || (kvHeads > 1 && kvHeads < heads),
        num_ln_in_parallel_attn: hasTwoNorms ? 2 : 1,
        multi_query: kvHeads === 1,
        parallel_attn: true,
        alibi: false,
        bias: keys.has('blk.0.attn_qkv.bias'),
        ffn_hidden_size: keys.integer('feed_forward_length', undefined, limits.neurons),
        activation: 'gelu',
        layer_norm_epsilon: keys.number('attention.layer_norm_epsilon'),
      },
      translate: (tensor) => {
        const block = (layer: string) => `transformer.h.${layer}`;
        const found = byTables(tensor, plainNames, blockNames, block);
        if (!/\.attn_qkv\.\w+$/.test(tensor)) return found;
        const rows = groupedRows(geometry);
        return found?.map((translated) => ({ ...translated, rows }));
      },
    };
  },
};
