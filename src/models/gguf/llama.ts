/**
 * Llama and its relatives: the same names, RMS norms, a gated FFN (Arcee's is not gated). Llama and Arcee
 * have the rows of queries and keys in another order than the checkpoint; the others keep its order.
 */

import { limits } from '../config.ts';
import {
  byTables,
  checkFullRotary,
  type Geometry,
  geometryOf,
  groupedRows,
  halvesOfPairs,
} from './common.ts';
import type { GgufArchitecture, GgufFacts, GgufTranslation } from './translation.ts';

const plainNames = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
} as const;

const blockNames = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
} as const;

export const blockPrefix = (layer: string) => `model.layers.${layer}`;

/** Fields that these families share. */
function decoderConfig({ config, keys, kvHeads, headDim }: Geometry) {
  return {
    ...config,
    num_key_value_heads: kvHeads,
    head_dim: headDim,
    intermediate_size: keys.integer('feed_forward_length', undefined, limits.neurons),
  };
}

interface Relative {
  readonly name: string;
  readonly modelType: string;
  readonly activation: string;
  /** Whether rotary pairs are adjacent, where the checkpoint has halves. */
  readonly pairs?: boolean;
  /** Whether only a part of each head may be rotated. */
  readonly partial?: boolean;
  /** Whether keys and values are computed from a latent vector. */
  readonly latent?: boolean;
  /** Names within a block that differ from Llama's or are missing. */
  readonly names?: Readonly<Record<string, string>>;
  /** Names outside blocks that differ from Llama's, and the prefix of those within a block. */
  readonly plain?: Readonly<Record<string, string>>;
  readonly prefix?: (layer: string) => string;
  /** How much larger the weights of the file's norms are than the checkpoint's. */
  readonly normOffset?: number;
  /** The key of layer norms' epsilon in the configuration; without it, norms are RMS norms. */
  readonly layerNormEps?: string;
  /** Whether queries, keys and values, stacked in the file, are stacked by head in the checkpoint. */
  readonly grouped?: boolean;
  /** Further tensors of a block; a mixture of experts has some. */
  readonly blocks?: Readonly<Record<string, string>>;
  /** Further fields of the config. */
  readonly fields?: (geometry: Geometry, facts: GgufFacts) => Readonly<Record<string, unknown>>;
}

/** An architecture with Llama's names. */
export function relative(traits: Relative): GgufArchitecture {
  const { name, modelType, activation, blocks, fields, normOffset = 0 } = traits;
  const { pairs = false, partial = false, latent = false, grouped = false, layerNormEps } = traits;
  const { prefix = blockPrefix } = traits;
  const inBlock = { ...blockNames, ...traits.names, ...blocks };
  const plain = { ...plainNames, ...traits.plain };
  const translate = (facts: GgufFacts): GgufTranslation => {
    const geometry = geometryOf(facts, name, { experts: blocks !== undefined, latent });
    if (!partial && !latent) checkFullRotary(geometry, facts);
    const { keys, heads, kvHeads, headDim, rotaryDim } = geometry;
    return {
      config: {
        model_type: modelType,
        ...decoderConfig(geometry),
        hidden_act: activation,
        ...(layerNormEps === undefined
          ? { rms_norm_eps: keys.number('attention.layer_norm_rms_epsilon') }
          : { [layerNormEps]: keys.number('attention.layer_norm_epsilon') }),
        ...(partial && { partial_rotary_factor: rotaryDim / headDim }),
        ...fields?.(geometry, facts),
      },
      translate: (tensor) => {
        const found = byTables(tensor, plain, inBlock, prefix);
        // One row, which files may store as a vector.
        if (tensor.endsWith('.ffn_gate_inp_shexp.weight')) {
          return found?.map((translated) => ({ ...translated, shape: [1, geometry.hidden] }));
        }
        if (normOffset !== 0 && /norm\.weight$/.test(tensor)) {
          return found?.map((translated) => ({ ...translated, add: -normOffset }));
        }
        if (grouped && /\.attn_qkv\.\w+$/.test(tensor)) {
          const rows = groupedRows(geometry);
          return found?.map((translated) => ({ ...translated, rows }));
        }
        const isQuery = /\.attn_q\.\w+$/.test(tensor);
        if (!pairs || !(isQuery || /\.attn_k\.\w+$/.test(tensor))) return found;
        const rows = halvesOfPairs(isQuery ? heads : kvHeads, headDim);
        return found?.map((translated) => ({ ...translated, rows }));
      },
    };
  };
  return { name, translate };
}

/** Whether projections have biases, according to the first block. */
export const biases = ({ keys }: Geometry) => ({
  attention_bias: keys.has('blk.0.attn_q.bias'),
  mlp_bias: keys.has('blk.0.ffn_up.bias'),
});

export const llama = relative({
  name: 'llama',
  modelType: 'llama',
  activation: 'silu',
  pairs: true,
  fields: biases,
});

export const arcee = relative({
  name: 'arcee',
  modelType: 'arcee',
  activation: 'relu2',
  pairs: true,
  fields: biases,
});

export const qwen2 = relative({
  name: 'qwen2',
  modelType: 'qwen2',
  activation: 'silu',
  pairs: false,
  fields: () => ({ use_sliding_window: false }),
});

/** The text part of Qwen's models of text and images: the three positions of a token are equal for text. */
export const qwen2vl = relative({
  name: 'qwen2vl',
  modelType: 'qwen2',
  activation: 'silu',
  fields: () => ({ use_sliding_window: false }),
});

export const qwen3vl = relative({
  name: 'qwen3vl',
  modelType: 'qwen3',
  activation: 'silu',
  fields: ({ keys }) => ({
    use_sliding_window: false,
    attention_bias: keys.has('blk.0.attn_q.bias'),
  }),
});

export const qwen3 = relative({
  name: 'qwen3',
  modelType: 'qwen3',
  activation: 'silu',
  pairs: false,
  fields: ({ keys }) => ({
    use_sliding_window: false,
    attention_bias: keys.has('blk.0.attn_q.bias'),
  }),
});
