/** In what a family can differ from the form that most decoders have: see decoder-family.ts. */

import type { ConfigFile } from './config.ts';
import { commonExpertNames, type ExpertNames } from './expert-recipe.ts';
import type { Positions } from './positions.ts';
import type { Linear } from './recipe-builder.ts';
import type { RotaryDefaults } from './rotary-config.ts';
import type { ExpertsSpec, ModelSpec } from './spec.ts';

/** What a family has of its own. */
export interface DecoderTraits {
  readonly norm: NormTraits;
  readonly activation: string;
  readonly gate: ModelSpec['ffn']['gate'];
  readonly block?: ModelSpec['block'];
  /** Whether a parallel block has a norm for its FFN, too. */
  readonly twoNorms?: boolean;
  /** Share of a head's values that are turned, where the configuration does not say; all of them, always. */
  readonly rotaryShare?: number;
  /** The base of the rotary embedding where the configuration does not say, and keys for base and share. */
  readonly theta?: number;
  readonly rotaryKeys?: RotaryDefaults['keys'];
  /** Whether pairs of a rotary embedding lie side by side. */
  readonly interleaved?: boolean;
  /** By layer, whether positions are told; all of them unless said. */
  readonly told?: readonly boolean[];
  /** Of a table of positions, the row of the first one. */
  readonly learnedOffset?: number;
  /** How positions are told, where that is neither by a table nor by one rotary embedding. */
  readonly positions?: (at: ConfigFile, headDim: number, trained: number) => ToldPositions;
  /** What the configuration means where it does not say; the form's own defaults unless given. */
  readonly defaults?: {
    readonly positions?: number;
    readonly kvHeads?: number;
    readonly headDim?: number;
    /** Neurons per value of the hidden size. */
    readonly widening?: number;
    readonly tiedHead?: boolean;
  };
  /** Keys of the configuration, the one that counts first, where they are not the common ones. */
  readonly keys?: Partial<ConfigKeys>;
  /** Whether heads are an equal share of the hidden size, whatever `head_dim` says. */
  readonly evenHeads?: boolean;
  readonly qkNorm?: ModelSpec['attention']['qkNorm'];
  readonly windows?: ModelSpec['attention']['windows'];
  /** Whether norms stand before the projection out of attention, and before the down projection. */
  readonly innerNorms?: boolean;
  /** What else attention does. */
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
  /** Factors and caps on what flows through. */
  readonly scales?: Partial<
    Pick<ModelSpec, 'embeddingScale' | 'residualScale' | 'logitScale' | 'logitSoftCap'>
  >;
  /** Of gates that are clamped. */
  readonly clamped?: ModelSpec['ffn']['clamped'];
  /** Heads of which the configuration's keys say something else. */
  readonly headGeometry?: { readonly headDim: number; readonly kvHeads: number };
  /** Of mixtures of experts. */
  readonly experts?: ExpertTraits;
  /** Which projections have biases; none unless said. */
  readonly bias?: Partial<Record<'qkv' | 'out' | 'ffn' | 'head', boolean>>;
  /** BOS and EOS where the configuration does not say. */
  readonly bosId: number | null;
  readonly eosIds: readonly number[];
  /** What the names of all tensors but the head's may begin with, the likeliest first. */
  readonly prefixes?: readonly string[];
  /** What the head may be called, the likeliest first; `lm_head` unless said. */
  readonly heads?: readonly string[];
  /** Whether the rows of a head of its own are divided by their lengths. */
  readonly unitHead?: boolean;
  /** Names within a layer or the model, where they are not the common ones. */
  readonly names?: Partial<Record<keyof typeof commonNames, string>>;
  /**
   * Where query, key and value are one projection, `qkv`: for each KV head its queries, its key and its
   * value, or all queries, all keys, all values.
   */
  readonly fused?: 'grouped' | 'stacked';
  /** Whether gate and up are one projection, `gateUp`, gate rows first. */
  readonly fusedGate?: boolean;
  /** Whether the weights of a layer lie (inputs, outputs). */
  readonly transposed?: boolean;
  /** Whether a rotary embedding turns the other way round. */
  readonly turnsBack?: boolean;
  /** Tensors of a layer that carry nothing the model needs. */
  readonly ignored?: readonly string[];
  /** Layers behind the last that nothing here uses, such as those that propose tokens. */
  readonly layersBehind?: number;
}

interface NormTraits {
  readonly kind: 'layer' | 'rms';
  /** Name and default of its epsilon in the configuration. */
  readonly eps: readonly [key: string, fallback: number];
  /** Is added to its weights. */
  readonly plus?: number;
  /** `pre` unless said. */
  readonly placement?: ModelSpec['norm']['placement'];
  /** Whether one stands behind the embedding. */
  readonly embedding?: boolean;
  /** Whether they have no weights. */
  readonly plain?: boolean;
  /** Whether they have biases; layer norms do unless said. */
  readonly bias?: boolean;
}

/** What a spec says of positions. */
export interface ToldPositions {
  readonly positions: Positions;
  readonly maxPositions: number;
  readonly localPositions?: ModelSpec['localPositions'];
  /** By layer. */
  readonly rotary?: ModelSpec['attention']['rotary'];
}

/** The experts of a family. */
export interface ExpertTraits {
  readonly spec: ExpertsSpec;
  /** In each of the forms that its checkpoints have: the first whose router is there, else the first. */
  readonly forms: readonly [ExpertForm, ...ExpertForm[]];
  /**
   * The FFN beside them, and the row whose product with the input tells its share. Gate and up rows may be
   * one projection, gate rows first, and the other one have a name of its own.
   */
  readonly shared?: {
    readonly source: string;
    readonly gate?: string;
    readonly fused?: { readonly gateUp: string; readonly down: string };
  };
}

/** What a router and its experts are called, below a layer. */
export interface ExpertForm {
  readonly router: Linear;
  readonly names: ExpertNames;
  /** What is added to scores for the choice alone, where a router has that; it may be a row, (1, experts). */
  readonly correction?: { readonly source: string; readonly row?: boolean };
}

/** The form of most families. */
export const commonExperts: ExpertForm = {
  router: { source: 'mlp.gate', bias: false },
  names: commonExpertNames,
};

/** Keys of a configuration; of KV heads none where there is one for each query head. */
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

/** `finalNorm` and what stands before it follow the prefix, the rest is within a layer. */
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
