/** The differences that a family can have from the usual structure of decoders: see decoder-family.ts. */

import type { ConfigFile } from './config.ts';
import { commonExpertNames, type ExpertNames } from './expert-recipe.ts';
import type { Positions } from './positions.ts';
import type { Linear } from './recipe-builder.ts';
import type { RotaryDefaults } from './rotary-config.ts';
import type { ExpertsSpec, ModelSpec } from './spec.ts';

/** The traits of a family. */
export interface DecoderTraits {
  readonly norm: NormTraits;
  readonly activation: string;
  readonly gate: ModelSpec['ffn']['gate'];
  readonly block?: ModelSpec['block'];
  /** Whether a parallel block has a separate norm for its FFN. */
  readonly twoNorms?: boolean;
  /**
   * Share of a head's values that are rotated if the configuration does not give it; absent: always all of
   * them.
   */
  readonly rotaryShare?: number;
  /**
   * The base of the rotary embedding if the configuration does not give it, and the keys for base and
   * share.
   */
  readonly theta?: number;
  readonly rotaryKeys?: RotaryDefaults['keys'];
  /** Whether the two values of a rotary pair are adjacent. */
  readonly interleaved?: boolean;
  /** For each layer, whether it uses positions; by default all do. */
  readonly told?: readonly boolean[];
  /** In a table of positions, the row of the first position. */
  readonly learnedOffset?: number;
  /** The kind of positions, if it is neither a table nor one rotary embedding. */
  readonly positions?: (at: ConfigFile, headDim: number, trained: number) => ToldPositions;
  /** Values for fields that the configuration leaves out; the usual defaults unless given. */
  readonly defaults?: {
    readonly positions?: number;
    readonly kvHeads?: number;
    readonly headDim?: number;
    /** Neurons per value of the hidden size. */
    readonly widening?: number;
    readonly tiedHead?: boolean;
  };
  /** Keys of the configuration, in order of precedence, if they are not the common ones. */
  readonly keys?: Partial<ConfigKeys>;
  /** Whether heads are an equal share of the hidden size, whatever `head_dim` says. */
  readonly evenHeads?: boolean;
  readonly qkNorm?: ModelSpec['attention']['qkNorm'];
  readonly windows?: ModelSpec['attention']['windows'];
  /** Whether there are norms before the output projection of attention and before the down projection. */
  readonly innerNorms?: boolean;
  /** Further traits of attention. */
  readonly attention?: Partial<
    Pick<
      ModelSpec['attention'],
      | 'scale'
      | 'qkNormOver'
      | 'qkNormLast'
      | 'qkNormPlain'
      | 'clip'
      | 'temperature'
      | 'softCap'
      | 'sinks'
      | 'latent'
    >
  >;
  /** Factors and caps on embeddings, residuals and logits. */
  readonly scales?: Partial<
    Pick<ModelSpec, 'embeddingScale' | 'residualScale' | 'logitScale' | 'logitSoftCap'>
  >;
  /** Limits of clamped gates. */
  readonly clamped?: ModelSpec['ffn']['clamped'];
  /** Heads that differ from what the configuration's keys say. */
  readonly headGeometry?: { readonly headDim: number; readonly kvHeads: number };
  /** Traits of mixtures of experts. */
  readonly experts?: ExpertTraits;
  /** Which projections have biases; none by default. */
  readonly bias?: Partial<Record<'qkv' | 'out' | 'ffn' | 'head', boolean>>;
  /** BOS and EOS if the configuration does not give them. */
  readonly bosId: number | null;
  readonly eosIds: readonly number[];
  /** Possible prefixes of the names of all tensors except the head's, the likeliest first. */
  readonly prefixes?: readonly string[];
  /** Possible names of the head, the likeliest first; `lm_head` by default. */
  readonly heads?: readonly string[];
  /** Whether the rows of an untied head are divided by their lengths. */
  readonly unitHead?: boolean;
  /** Names within a layer or the model, if they are not the common ones. */
  readonly names?: Partial<Record<keyof typeof commonNames, string>>;
  /**
   * The order of rows if query, key and value are one projection, `qkv`: `grouped`: for each KV head its
   * queries, its key and its value; `stacked`: all queries, all keys, all values.
   */
  readonly fused?: 'grouped' | 'stacked';
  /** Whether gate and up are one projection, `gateUp`, gate rows first. */
  readonly fusedGate?: boolean;
  /** Whether the weights of a layer are stored as (inputs, outputs). */
  readonly transposed?: boolean;
  /** Whether a rotary embedding rotates in the opposite direction. */
  readonly turnsBack?: boolean;
  /** Tensors of a layer that the model does not need. */
  readonly ignored?: readonly string[];
  /** Number of layers after the last that are not used here, such as those that propose tokens. */
  readonly layersBehind?: number;
}

interface NormTraits {
  readonly kind: 'layer' | 'rms';
  /** Name and default of its epsilon in the configuration. */
  readonly eps: readonly [key: string, fallback: number];
  /** This value is added to its weights. */
  readonly plus?: number;
  /** `pre` by default. */
  readonly placement?: ModelSpec['norm']['placement'];
  /** Whether there is one after the embedding. */
  readonly embedding?: boolean;
  /** Whether they have no weights. */
  readonly plain?: boolean;
  /** Whether they have biases; by default layer norms do. */
  readonly bias?: boolean;
}

/** The part of a spec that describes positions. */
export interface ToldPositions {
  readonly positions: Positions;
  readonly maxPositions: number;
  readonly localPositions?: ModelSpec['localPositions'];
  /** One entry per layer. */
  readonly rotary?: ModelSpec['attention']['rotary'];
}

/** The experts of a family. */
export interface ExpertTraits {
  readonly spec: ExpertsSpec;
  /** One entry for each form of its checkpoints: the first whose router exists is used, else the first. */
  readonly forms: readonly [ExpertForm, ...ExpertForm[]];
  /**
   * The FFN beside them, and the row whose product with the input determines its share. Gate and up rows
   * may be one projection, gate rows first; the down projection may have its own name.
   */
  readonly shared?: {
    readonly source: string;
    readonly gate?: string;
    readonly fused?: { readonly gateUp: string; readonly down: string };
  };
}

/** Names of a router and its experts, within a layer. */
export interface ExpertForm {
  readonly router: Linear;
  readonly names: ExpertNames;
  /**
   * The correction that is added to scores only for the choice of experts, if a router has one; it may be a
   * row, (1, experts).
   */
  readonly correction?: { readonly source: string; readonly row?: boolean };
}

/** The form that most families use. */
export const commonExperts: ExpertForm = {
  router: { source: 'mlp.gate', bias: false },
  names: commonExpertNames,
};

/** Keys of a configuration; no key for KV heads if there is one for each query head. */
export type ConfigKeys = Readonly<Record<keyof typeof commonKeys, readonly string[]>>;

export const commonKeys = {
  hidden: ['hidden_size'],
  layers: ['num_hidden_layers'],
  heads: ['num_attention_heads'],
  kvHeads: ['num_key_value_heads'],
  neurons: ['intermediate_size'],
  positions: ['max_position_embeddings'],
  activation: ['hidden_act'],
} as const;

/** `finalNorm` and the names before it follow the prefix; the rest are within a layer. */
export const commonNames = {
  tokens: 'embed_tokens',
  positions: 'embed_positions',
  embeddingNorm: 'embed_norm',
  layers: 'layers',
  finalNorm: 'norm',
  attentionNorm: 'input_layernorm',
  attentionOutputNorm: 'post_attention_layernorm',
  qkv: 'self_attn.query_key_value',
  query: 'self_attn.q_proj',
  key: 'self_attn.k_proj',
  value: 'self_attn.v_proj',
  queryNorm: 'self_attn.q_norm',
  keyNorm: 'self_attn.k_norm',
  sinks: 'self_attn.sinks',
  attentionInnerNorm: 'self_attn.attn_sub_norm',
  out: 'self_attn.o_proj',
  ffnNorm: 'post_attention_layernorm',
  ffnOutputNorm: 'post_feedforward_layernorm',
  ffn: 'mlp',
  ffnInnerNorm: 'ffn_sub_norm',
  gate: 'gate_proj',
  up: 'up_proj',
  down: 'down_proj',
  gateUp: 'gate_up_proj',
};
