/**
 * Describes a model in standard terms, without the name of a family: the engine, the layout and the planner
 * know a model only through these types. They are plain data and are stored in `flash.json`.
 */

import * as v from 'valibot';
import type { DType } from '../dtype.ts';
import { activationFunctions } from '../kernels/constants.ts';
import { positionsSchema, rotarySchema, storedRotary } from './positions.ts';
import type { RowOrder } from './row-order.ts';
import { factor, finite, index, positive } from './spec-values.ts';

const { none: _none, ...ofFfns } = activationFunctions;
/** Activations of FFNs; where `zeros` is true, most values are exactly 0, so that neurons can be left out. */
export const activations = ofFfns;
export type ActivationFunction = keyof typeof activations;
const activationNames = Object.keys(activations) as [ActivationFunction, ...ActivationFunction[]];

/** FFNs from which a router chooses for each token. */
const expertsSchema = v.object({
  /** Experts in each layer, and how many of them a token takes. */
  count: positive,
  topK: positive,
  /** Of each expert. */
  neurons: positive,
  /** Neurons of the FFN beside them that every token takes; 0: there is none. */
  shared: index,
  /** Whether the output of that FFN is multiplied by the sigmoid of one more product, `sharedGate`. */
  sharedGate: v.optional(v.boolean(), false),
  /** The layers, ascending, that have one FFN for all tokens and no experts. */
  denseLayers: v.array(index),
  /**
   * Function from the router's logits to scores: softmax over all experts, a sigmoid of each, or, for each
   * chosen expert, softmax over the remaining ones that are near it (sparsemixer).
   */
  score: v.picklist(['softmax', 'sigmoid', 'sparsemixer']),
  /**
   * For sparsemixer: half of the distance below the chosen logit within which others are near, relative to
   * the larger of both.
   */
  jitter: v.optional(v.pipe(finite, v.minValue(0))),
  /** Whether the weights of the chosen are divided by their sum. */
  normalise: v.boolean(),
  /**
   * Experts form this many groups of equal size. A token chooses from `topK` groups: those with the largest
   * sums of their `best` best scores.
   */
  groups: v.optional(v.object({ count: positive, topK: positive, best: positive })),
  /** Factor on all weights. */
  scale: factor,
  /**
   * Whether the router reads the layer's input, before attention and any norm, instead of the FFN's input.
   */
  early: v.optional(v.boolean()),
});

/**
 * Geometry and arithmetic of one decoder-only transformer, as `flash.json` holds it. Fields with a default
 * are absent in models of format version 1.
 */
export const modelSpecSchema = v.object({
  /** For readers only; no code depends on it. */
  family: v.string(),
  /** Rows of the embedding and of the head; may be padded above the tokenizer's vocabulary. */
  vocabSize: positive,
  /** Width of the residual stream. */
  hiddenSize: positive,
  /** Width of an embedding row; differs from `hiddenSize` if there are projections in and out. */
  embeddingSize: positive,
  layers: positive,
  /** Longest sequence, in positions. */
  maxPositions: positive,
  /** Factor on embedding rows, before positions are added. */
  embeddingScale: v.optional(factor),
  /** Factor on the output of each sublayer. */
  residualScale: v.optional(factor),
  /** Factor on logits. */
  logitScale: v.optional(factor),
  /** Logits become cap tanh(logit / cap), after their factor. */
  logitSoftCap: v.optional(factor),
  /** `sequential`: x + f(norm(x + a(norm(x)))); `parallel`: x + a(norm(x)) + f(norm(x)). */
  block: v.optional(v.picklist(['sequential', 'parallel']), 'sequential'),
  /**
   * The inputs of the matrices of layers are rounded to this many bits, with one scale per row (roundRows).
   */
  inputBits: v.optional(v.literal(8)),
  attention: v.object({
    heads: positive,
    kvHeads: positive,
    headDim: positive,
    /** Factor on q . k. */
    scale: finite,
    /** Norm over each query and key head, before rotation unless `qkNormLast`. */
    qkNorm: v.optional(v.picklist(['none', 'layer', 'rms']), 'none'),
    /**
     * Its weights: by default those of one head, which all heads share; `heads`: separate weights for each
     * head; `row`: one norm over all heads.
     */
    qkNormOver: v.optional(v.picklist(['heads', 'row'])),
    /** Whether rotation precedes it. */
    qkNormLast: v.optional(v.boolean()),
    /** Whether it has no weights. */
    qkNormPlain: v.optional(v.boolean()),
    /** Queries, keys and values are clipped to [-clip, clip]. */
    clip: v.optional(factor),
    /** Queries at position p are multiplied by 1 + beta ln(1 + floor(p / trained)), after rotation. */
    temperature: v.optional(v.object({ beta: finite, trained: positive })),
    /** Scores become cap tanh(score / cap). */
    softCap: v.optional(factor),
    /** Whether the outputs of all heads are normed as one row, before the output projection. */
    innerNorm: v.optional(v.boolean()),
    /**
     * Whether each head has an additional score (a sink) that takes part in the softmax but has no value.
     */
    sinks: v.optional(v.boolean()),
    /**
     * Keys and values are computed from a latent vector of `rank` values, and queries from one of
     * `queryRank` values if that is not null; these vectors pass through an RMS norm. The first `rope`
     * values of a head are rotated, and are the same for the keys of all heads; a head has `value` values,
     * padded with zeros to `headDim`.
     */
    latent: v.optional(
      v.object({
        queryRank: v.nullable(positive),
        rank: positive,
        rope: positive,
        value: positive,
        eps: v.pipe(finite, v.minValue(0)),
      }),
    ),
    /** For each layer, how many positions a query sees, including its own, or null for all; empty: all. */
    windows: v.optional(v.array(v.nullable(positive)), []),
    /**
     * For each layer, its rotary positions: `positions`, `localPositions`, or none; absent: `positions`.
     */
    rotary: v.optional(v.array(v.picklist(['global', 'local', 'none']))),
  }),
  positions: positionsSchema,
  localPositions: v.optional(rotarySchema),
  norm: v.object({
    kind: v.picklist(['layer', 'rms']),
    eps: v.pipe(finite, v.minValue(0)),
    /** `pre`: x + f(norm(x)); `post`: norm(x + f(x)); `output`: x + norm(f(x)); `both`: x + norm(f(norm(x))). */
    placement: v.picklist(['pre', 'post', 'output', 'both']),
    /** Whether the FFN has the same input as attention, in a parallel block with one norm. */
    shared: v.optional(v.boolean(), false),
    /** Whether there is a norm before the head. */
    final: v.boolean(),
    /** Whether there is a norm after the embedding. */
    embedding: v.optional(v.boolean()),
    /** Whether RMS norms have no weights. */
    plain: v.optional(v.boolean()),
  }),
  ffn: v.object({
    neurons: positive,
    activation: v.picklist(activationNames),
    /**
     * `none`: act(up x); `linear`: act(gate x) (up x); `both`: act(gate x) act(up x); `clamped`, in experts
     * only: g sigmoid(steepness g) (u + 1), whatever the activation, where g is gate x, at most `limit`,
     * and u is up x, clamped to [-limit, limit].
     */
    gate: v.optional(v.picklist(['none', 'linear', 'both', 'clamped']), 'none'),
    clamped: v.optional(v.object({ limit: factor, steepness: factor })),
    /** For fatrelu: values up to it become 0. */
    threshold: v.optional(finite, 0),
    /** Whether activations are normed as one row of all neurons, before the down projection. */
    innerNorm: v.optional(v.boolean()),
    /** Only in a mixture of experts; `neurons` above are those of its dense layers. */
    experts: v.optional(expertsSchema),
  }),
  /** True when the head is the embedding matrix. */
  tiedHead: v.boolean(),
  bosId: v.nullable(index),
  eosIds: v.array(index),
});

/** The parsed form of `modelSpecSchema`. */
export type ModelSpec = v.InferOutput<typeof modelSpecSchema>;

/** The experts of a model's layers. */
export type ExpertsSpec = v.InferOutput<typeof expertsSchema>;

/** The latent vectors of queries, keys and values. */
export type LatentSpec = NonNullable<ModelSpec['attention']['latent']>;

/** The experts of a layer, or null where it has one FFN for all tokens. */
export function expertsOf({ ffn }: Pick<ModelSpec, 'ffn'>, layer: number): ExpertsSpec | null {
  const { experts } = ffn;
  return experts === undefined || experts.denseLayers.includes(layer) ? null : experts;
}

/** Whether this number of experts per token is smaller than the model's own, which changes the output. */
export function takesFewer({ ffn }: Pick<ModelSpec, 'ffn'>, asked: number | undefined): boolean {
  return asked !== undefined && ffn.experts !== undefined && asked !== ffn.experts.topK;
}

/** Whether no down column can be used before the activations of all neurons are known. */
export function needsAllActivations({
  inputBits,
  ffn,
}: Pick<ModelSpec, 'inputBits' | 'ffn'>): boolean {
  return inputBits !== undefined || ffn.innerNorm === true;
}

/** The stored form of a spec in `flash.json`, which `modelSpecSchema` reads. */
type StoredSpec = v.InferInput<typeof modelSpecSchema>;

/** The spec in its stored form. */
export function storedSpec(spec: ModelSpec): StoredSpec {
  const { positions, localPositions, ...rest } = spec;
  return {
    ...rest,
    positions: positions.kind === 'rotary' ? storedRotary(positions) : positions,
    ...(localPositions && { localPositions: storedRotary(localPositions) }),
  };
}

/**
 * Names of tensors in a model directory. Matrices are `(rows, columns)` with `y = W x`; vectors are
 * f32. Tensors that a model does not have are absent.
 */
export const tensorNames = {
  tokens: 'embed.tokens', // (vocab, embedding)
  positions: 'embed.positions', // (positions + offset, hidden)
  projectIn: 'embed.project_in', // (hidden, embedding)
  projectOut: 'embed.project_out', // (embedding, hidden)
  finalNorm: 'final_norm', // .weight, .bias (hidden)
  embeddingNorm: 'embed.norm', // .weight, .bias (hidden)
  head: 'head', // (vocab, embedding), absent when tied
  headBias: 'head.bias', // (vocab)
  attentionNorm: (layer: number) => `layers.${layer}.attention_norm`, // .weight, .bias (hidden)
  qkv: (layer: number) => `layers.${layer}.attention.qkv`, // .weight ((heads + 2 kvHeads) headDim, hidden), .bias
  query: (layer: number) => `layers.${layer}.attention.query`, // .weight, if the three have several formats, or if the query is latent
  key: (layer: number) => `layers.${layer}.attention.key`, // .weight
  value: (layer: number) => `layers.${layer}.attention.value`, // .weight
  latentQuery: (layer: number) => `layers.${layer}.attention.latent_query`, // .weight (queryRank, hidden), .bias
  latentQueryNorm: (layer: number) => `layers.${layer}.attention.latent_query_norm`, // .weight (queryRank)
  latent: (layer: number) => `layers.${layer}.attention.latent`, // .weight (rope + rank, hidden), .bias
  latentNorm: (layer: number) => `layers.${layer}.attention.latent_norm`, // .weight (rank)
  keyValue: (layer: number) => `layers.${layer}.attention.key_value`, // .weight (heads (headDim - rope + value), rank)
  queryNorm: (layer: number) => `layers.${layer}.attention.query_norm`, // .weight, .bias (headDim), or (heads headDim)
  keyNorm: (layer: number) => `layers.${layer}.attention.key_norm`, // .weight, .bias (headDim), or (kvHeads headDim)
  sinks: (layer: number) => `layers.${layer}.attention.sinks`, // (heads)
  attentionInnerNorm: (layer: number) => `layers.${layer}.attention.inner_norm`, // .weight, .bias (heads headDim)
  attentionOut: (layer: number) => `layers.${layer}.attention.out`, // .weight (hidden, heads headDim), .bias
  attentionOutputNorm: (layer: number) => `layers.${layer}.attention_output_norm`, // .weight, .bias (hidden)
  ffnOutputNorm: (layer: number) => `layers.${layer}.ffn_output_norm`, // .weight, .bias (hidden)
  ffnNorm: (layer: number) => `layers.${layer}.ffn_norm`, // .weight, .bias (hidden)
  ffnInnerNorm: (layer: number) => `layers.${layer}.ffn.inner_norm`, // .weight, .bias (neurons)
  gateBias: (layer: number) => `layers.${layer}.ffn.gate.bias`, // (neurons)
  upBias: (layer: number) => `layers.${layer}.ffn.up.bias`, // (neurons)
  downBias: (layer: number) => `layers.${layer}.ffn.down.bias`, // (hidden)
  bundles: (layer: number) => `layers.${layer}.ffn.bundles`, // (neurons, bundle bytes)
  router: (layer: number) => `layers.${layer}.ffn.router`, // .weight (experts, hidden), .bias, .correction (experts)
  sharedGate: (layer: number) => `layers.${layer}.ffn.shared_gate`, // (hidden)
  expertGateBias: (layer: number) => `layers.${layer}.ffn.experts.gate.bias`, // (experts k)
  expertUpBias: (layer: number) => `layers.${layer}.ffn.experts.up.bias`, // (experts k)
  expertDownBias: (layer: number) => `layers.${layer}.ffn.experts.down.bias`, // (experts hidden)
} as const;

const routerName = /^layers\.\d+\.ffn\.router\.weight$/;

/** Whether a tensor of a model directory is a router, which is f32 whatever the others are. */
export function isRouter(name: string): boolean {
  return routerName.test(name);
}

/** How one resident tensor is built from checkpoint tensors, stacked along their rows. */
export interface TensorRecipe {
  readonly name: string;
  /** `(n)` for vectors, `(rows, columns)` for matrices. */
  readonly shape: readonly number[];
  readonly parts: readonly TensorPart[];
}

/** Some rows of a checkpoint tensor, or elements of a vector. */
export interface TensorPart {
  readonly source: string;
  /** Shape of the whole source. */
  readonly shape: readonly number[];
  /** Which rows, counted over all axes except the last; absent: all. */
  readonly rows?: SourceRows;
  /** A value that is added to each element; for vectors only. */
  readonly plus?: number;
}

/** A view of a checkpoint tensor in the form that the model needs, under a name of the recipe. */
export interface SourceView {
  readonly source: string;
  /** Shape of the source. */
  readonly shape: readonly number[];
  /** First, whether the source, or each of its matrices, is transposed. */
  readonly transposed?: boolean;
  /** Then, whether rows are divided by their lengths. */
  readonly unitRows?: boolean;
  /** Then, the shape to which it is changed, if any. */
  readonly flattened?: readonly number[];
  /** Then, which of its rows, in which order; absent: all. */
  readonly order?: RowOrder;
}

export interface SourceRows {
  readonly first: number;
  readonly count: number;
}

/** The sources of an FFN for all tokens: the gate and up rows, and the columns of the down projection. */
export interface BundleRecipe {
  readonly layer: number;
  /** Whether it is the layer's only FFN or is beside experts. */
  readonly ffn: 'ffn' | 'shared';
  readonly neurons: number;
  readonly hiddenSize: number;
  /** `(neurons, hidden)`, only in gated FFNs. */
  readonly gate?: string;
  /** `(neurons, hidden)` */
  readonly up: string;
  /** `(hidden, neurons)` */
  readonly down: string;
}

/** The sources of a bundle's rows, in their order. */
export function bundleRows({ gate, up }: Pick<BundleRecipe, 'gate' | 'up'>): readonly string[] {
  return gate === undefined ? [up] : [gate, up];
}

/** The sources of a layer's experts. */
export interface ExpertsRecipe {
  readonly layer: number;
  /** Of each expert. */
  readonly neurons: number;
  readonly hiddenSize: number;
  readonly experts: readonly ExpertRecipe[];
}

/** One expert: (k, hidden), (k, hidden) and (hidden, k) rows of checkpoint tensors. */
export interface ExpertRecipe {
  /** Of gated FFNs. */
  readonly gate?: TensorPart;
  readonly up: TensorPart;
  readonly down: TensorPart;
}

/** Everything that conversion needs to know about one checkpoint. */
export interface ModelRecipe {
  readonly spec: ModelSpec;
  readonly tensors: readonly TensorRecipe[];
  /** FFNs for all tokens, in the order of layers. */
  readonly bundles: readonly BundleRecipe[];
  /** Layers with experts, in order; empty in other models. */
  readonly experts: readonly ExpertsRecipe[];
  /** The views among the names above; all other names are those of checkpoint tensors. */
  readonly views: ReadonlyMap<string, SourceView>;
  /** Checkpoint tensors that the model does not need (a tied head's copy, buffers). */
  readonly ignored: readonly string[];
  /**
   * Set if the configuration ties the head but the checkpoint holds a head nevertheless: the recipe is
   * right if both have the same values. If not, the head is separate.
   */
  readonly twoHeads?: { readonly embedding: string; readonly head: string };
}

/** The input of a family: the parsed config.json and the names in the checkpoint. */
export interface CheckpointFacts {
  readonly config: Readonly<Record<string, unknown>>;
  /** Path of config.json, for messages. */
  readonly configFile: string;
  readonly sourceNames: ReadonlySet<string>;
  /** The number of tensors if all that an index lists existed; absent: the number of names. */
  readonly tensorCount?: number;
}

/** One file in this folder. */
export interface Family {
  /** Values of `model_type` in config.json. */
  readonly modelTypes: readonly string[];
  /**
   * Fields of config.json that name the activation, in order of precedence; by default only `hidden_act`.
   */
  readonly activationKeys?: readonly string[];
  /** @throws InputError when the config is incomplete, contradictory or asks for an unsupported feature */
  recipe(facts: CheckpointFacts): ModelRecipe;
}

/** Weight dtypes of a converted model: `mixed` if its tensors, or the parts of its units, have several. */
export interface WeightDTypes {
  /** Embeddings, attention and head. */
  readonly resident: DType | 'mixed';
  readonly bundles: DType | 'mixed';
}

/** The tensor of the head: its own, or the embedding when tied. */
export function headTensor(spec: ModelSpec): string {
  return spec.tiedHead ? tensorNames.tokens : tensorNames.head;
}
