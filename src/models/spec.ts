/**
 * What a decoder is, in the words of the field and without any family's name: the engine, the
 * layout and the planner know a model only through these types. They are plain data and are stored
 * in `flash.json`.
 */

import * as v from 'valibot';
import type { DType } from '../dtype.ts';

/** FFN activations that the kernels compute. */
export const activations = ['relu', 'gelu', 'gelu_tanh'] as const;
export type Activation = (typeof activations)[number];

const positive = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const index = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** Geometry and arithmetic of one decoder-only transformer, as `flash.json` holds it. */
export const modelSpecSchema = v.object({
  /** For people; no code depends on it. */
  family: v.string(),
  /** Rows of the embedding and of the head; may be padded above the tokenizer's vocabulary. */
  vocabSize: positive,
  /** Width of the residual stream. */
  hiddenSize: positive,
  /** Width of an embedding row; differs from `hiddenSize` where projections in and out exist. */
  embeddingSize: positive,
  layers: positive,
  /** Longest sequence, in positions. */
  maxPositions: positive,
  attention: v.object({
    heads: positive,
    kvHeads: positive,
    headDim: positive,
    /** Factor on q . k. */
    scale: v.number(),
  }),
  /** Learned positions: row `position + offset` of the table is added to the embedding. */
  positions: v.object({ kind: v.literal('learned'), offset: index }),
  norm: v.object({
    kind: v.literal('layer'),
    eps: v.number(),
    /** `pre`: x + f(norm(x)); `post`: norm(x + f(x)). */
    placement: v.picklist(['pre', 'post']),
    /** Whether a norm stands before the head. */
    final: v.boolean(),
  }),
  ffn: v.object({ neurons: positive, activation: v.picklist(activations) }),
  /** True when the head is the embedding matrix. */
  tiedHead: v.boolean(),
  bosId: v.nullable(index),
  eosIds: v.array(index),
});

/** The parsed form of {@link modelSpecSchema}. */
export type ModelSpec = v.InferOutput<typeof modelSpecSchema>;

/**
 * Names of tensors in a model directory. Matrices are `(rows, columns)` with `y = W x`; vectors are
 * f32. Those that a model does not have are absent.
 */
export const role = {
  tokens: 'embed.tokens', // (vocab, embedding)
  positions: 'embed.positions', // (positions + offset, hidden)
  projectIn: 'embed.project_in', // (hidden, embedding)
  projectOut: 'embed.project_out', // (embedding, hidden)
  finalNorm: 'final_norm', // .weight, .bias (hidden)
  head: 'head', // (vocab, embedding), absent when tied
  attentionNorm: (layer: number) => `layers.${layer}.attention_norm`, // .weight, .bias (hidden)
  qkv: (layer: number) => `layers.${layer}.attention.qkv`, // .weight ((heads + 2 kvHeads) headDim, hidden), .bias
  attentionOut: (layer: number) => `layers.${layer}.attention.out`, // .weight (hidden, heads headDim), .bias
  ffnNorm: (layer: number) => `layers.${layer}.ffn_norm`, // .weight, .bias (hidden)
  upBias: (layer: number) => `layers.${layer}.ffn.up.bias`, // (neurons)
  downBias: (layer: number) => `layers.${layer}.ffn.down.bias`, // (hidden)
  bundles: (layer: number) => `layers.${layer}.ffn.bundles`, // (neurons, bundle bytes)
} as const;

/** How one resident tensor is made from checkpoint tensors stacked along their rows. */
export interface TensorRecipe {
  readonly name: string;
  /** `(n)` for vectors, `(rows, columns)` for matrices. */
  readonly shape: readonly number[];
  readonly parts: readonly TensorPart[];
}

export interface TensorPart {
  readonly source: string;
  readonly shape: readonly number[];
}

/** How a layer's bundles are made: the up rows and the columns of the down projection. */
export interface BundleRecipe {
  readonly name: string;
  readonly neurons: number;
  readonly hiddenSize: number;
  /** `(neurons, hidden)` */
  readonly up: string;
  /** `(hidden, neurons)` */
  readonly down: string;
}

/** Everything that conversion needs to know about one checkpoint. */
export interface ModelRecipe {
  readonly spec: ModelSpec;
  readonly tensors: readonly TensorRecipe[];
  readonly bundles: readonly BundleRecipe[];
  /** Checkpoint tensors that carry nothing the model needs (a tied head's copy, buffers). */
  readonly ignored: readonly string[];
}

/** What a family reads from: the parsed config.json and the names in the checkpoint. */
export interface CheckpointFacts {
  readonly config: Readonly<Record<string, unknown>>;
  /** Path of config.json, for messages. */
  readonly configFile: string;
  readonly tensorNames: ReadonlySet<string>;
}

/** One file in this folder. */
export interface Family {
  /** Values of `model_type` in config.json. */
  readonly modelTypes: readonly string[];
  /** @throws InputError when the config is incomplete, contradictory or asks for what is not supported */
  recipe(facts: CheckpointFacts): ModelRecipe;
}

/** Weight dtypes of a converted model. */
export interface WeightDTypes {
  /** Embeddings, attention and head. */
  readonly resident: DType;
  readonly bundles: DType;
}

/** The head's tensor: its own, or the embedding when tied. */
export function headTensor(spec: ModelSpec): string {
  return spec.tiedHead ? role.tokens : role.head;
}
