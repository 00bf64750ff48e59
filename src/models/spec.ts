/**
 * What a model is, in the words of the field and without any family's name: the engine, the
 * layout and the planner know a model only through these types. They are plain data and are stored
 * in `flash.json`.
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

/** FFNs of which a router chooses for each token. */
const expertsSchema = v.object({
  /** In each layer, and how many of them a token takes. */
  count: positive,
  topK: positive,
  /** Of each expert. */
  neurons: positive,
  /** Of the FFN beside them that every token takes; 0: there is none. */
  shared: index,
  /** Whether what that FFN gives is multiplied by the sigmoid of one more product, `sharedGate`. */
  sharedGate: v.optional(v.boolean(), false),
  /** The layers, ascending, that have one FFN for all tokens and no experts. */
  denseLayers: v.array(index),
  /**
   * Of the router's logits: softmax over all experts, a sigmoid of each, or, for each of the chosen, softmax
   * over those that are left and near it (sparsemixer).
   */
  score: v.picklist(['softmax', 'sigmoid', 'sparsemixer']),
  /** Of sparsemixer: half of how far below it others are near, relative to the larger of both. */
  jitter: v.optional(v.pipe(finite, v.minValue(0))),
  /** Whether the weights of the chosen are divided by their sum. */
  normalise: v.boolean(),
  /**
   * Experts stand in so many groups of equal size, of which a token chooses from `topK`: those with the
   * largest sums of their `best` best scores.
   */
  groups: v.optional(v.object({ count: positive, topK: positive, best: positive })),
  /** Factor on all weights. */
  scale: factor,
  /** Whether the router reads what comes into the layer, before attention and any norm, and not the FFN's input. */
  early: v.optional(v.boolean()),
});

/**
 * Geometry and arithmetic of one decoder-only transformer, as `flash.json` holds it. What has a
 * default is absent in models of format version 1.
 */
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
  /** Factor on embedding rows, before positions are added. */
  embeddingScale: v.optional(factor),
  /** Factor on what a sublayer adds. */
  residualScale: v.optional(factor),
  /** Factor on logits. */
  logitScale: v.optional(factor),
  /** Logits become cap tanh(logit / cap), after their factor. */
  logitSoftCap: v.optional(factor),
  /** `sequential`: x + f(norm(x + a(norm(x)))); `parallel`: x + a(norm(x)) + f(norm(x)). */
  block: v.optional(v.picklist(['sequential', 'parallel']), 'sequential'),
  /** What the matrices of layers are multiplied with is rounded to so many bits, with one scale a row (roundRows). */
  inputBits: v.optional(v.literal(8)),
  attention: v.object({
    heads: positive,
    kvHeads: positive,
    headDim: positive,
    /** Factor on q . k. */
    scale: finite,
    /** Norm over each query and key head, before positions are told unless `qkNormLast`. */
    qkNorm: v.optional(v.picklist(['none', 'layer', 'rms']), 'none'),
    /** Its weights: of a head, which all share, unless said; `heads`: of each head its own; `row`: one norm over all heads. */
    qkNormOver: v.optional(v.picklist(['heads', 'row'])),
    /** Whether positions are told before it. */
    qkNormLast: v.optional(v.boolean()),
    /** Whether it has no weights. */
    qkNormPlain: v.optional(v.boolean()),
    /** Queries, keys and values are held within [-clip, clip]. */
    clip: v.optional(factor),
    /** Queries at position p are multiplied by 1 + beta ln(1 + floor(p / trained)), once positions are told. */
    temperature: v.optional(v.object({ beta: finite, trained: positive })),
    /** Scores become cap tanh(score / cap). */
    softCap: v.optional(factor),
    /** Whether what all heads give is normed as one row, before the projection out. */
    innerNorm: v.optional(v.boolean()),
    /** Whether each head has a score of its own that takes part in the softmax and brings no value. */
    sinks: v.optional(v.boolean()),
    /**
     * Keys and values are made of a latent vector of `rank` values, queries of one of `queryRank` where that
     * is not null; these are normed by the root of mean squares. Of a head, the first `rope` values tell
     * positions, and are the same for all keys; a head has `value` values, and zeros up to `headDim`.
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
    /** For each layer how many positions a query sees, itself included, or null for all; empty: all. */
    windows: v.optional(v.array(v.nullable(positive)), []),
    /** For each layer how rotary positions are told: as `positions`, as `localPositions`, or not at all; absent: as `positions`. */
    rotary: v.optional(v.array(v.picklist(['global', 'local', 'none']))),
  }),
  positions: positionsSchema,
  localPositions: v.optional(rotarySchema),
  norm: v.object({
    kind: v.picklist(['layer', 'rms']),
    eps: v.pipe(finite, v.minValue(0)),
    /** `pre`: x + f(norm(x)); `post`: norm(x + f(x)); `output`: x + norm(f(x)); `both`: x + norm(f(norm(x))). */
    placement: v.picklist(['pre', 'post', 'output', 'both']),
    /** Whether the FFN's input is the attention's, in a parallel block with one norm. */
    shared: v.optional(v.boolean(), false),
    /** Whether a norm stands before the head. */
    final: v.boolean(),
    /** Whether one stands behind the embedding. */
    embedding: v.optional(v.boolean()),
    /** Whether norms by the root of mean squares have no weights. */
    plain: v.optional(v.boolean()),
  }),
  ffn: v.object({
    neurons: positive,
    activation: v.picklist(activationNames),
    /**
     * `none`: act(up x); `linear`: act(gate x) (up x); `both`: act(gate x) act(up x); `clamped`, of experts
     * alone: g sigmoid(steepness g) (u + 1), whatever the activation, where g is gate x, but at most
     * `limit`, and u is up x, within [-limit, limit].
     */
    gate: v.optional(v.picklist(['none', 'linear', 'both', 'clamped']), 'none'),
    clamped: v.optional(v.object({ limit: factor, steepness: factor })),
    /** Of fatrelu: values up to it count as 0. */
    threshold: v.optional(finite, 0),
    /** Whether activations are normed as one row of all neurons, before the down projection. */
    innerNorm: v.optional(v.boolean()),
    /** Of a mixture of experts; `neurons` above are those of its dense layers. */
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

/** What keys and values are made of, where that is a latent vector. */
export type LatentSpec = NonNullable<ModelSpec['attention']['latent']>;

/** The experts of a layer, or null where it has one FFN for all tokens. */
export function expertsOf({ ffn }: Pick<ModelSpec, 'ffn'>, layer: number): ExpertsSpec | null {
  const { experts } = ffn;
  return experts === undefined || experts.denseLayers.includes(layer) ? null : experts;
}

/** Whether so many experts for each token are fewer than the model takes, which gives another output. */
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

/** The form in which `flash.json` holds a spec, and `modelSpecSchema` reads it. */
type StoredSpec = v.InferInput<typeof modelSpecSchema>;

/** The spec as `flash.json` holds it. */
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
 * f32. Those that a model does not have are absent.
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
  query: (layer: number) => `layers.${layer}.attention.query`, // .weight, where the three have several formats, or of a latent one
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

/** How one resident tensor is made from checkpoint tensors stacked along their rows. */
export interface TensorRecipe {
  readonly name: string;
  /** `(n)` for vectors, `(rows, columns)` for matrices. */
  readonly shape: readonly number[];
  readonly parts: readonly TensorPart[];
}

/** Some rows of a checkpoint tensor, or elements of a vector. */
export interface TensorPart {
  readonly source: string;
  /** Of the whole source. */
  readonly shape: readonly number[];
  /** Which rows, counted over all axes but the last; all of them when absent. */
  readonly rows?: SourceRows;
  /** Is added to each value; of vectors only. */
  readonly plus?: number;
}

/** A tensor of the checkpoint under a name of the recipe's own, as the model wants it. */
export interface SourceView {
  readonly source: string;
  /** Of the source. */
  readonly shape: readonly number[];
  /** Whether the columns of the source, or of each of its matrices, are the rows. */
  readonly transposed?: boolean;
  /** Whether rows are divided by their lengths then. */
  readonly unitRows?: boolean;
  /** The shape in which its values are taken then, where that is another one. */
  readonly flattened?: readonly number[];
  /** Which of its rows then, in which order; all of them when absent. */
  readonly order?: RowOrder;
}

export interface SourceRows {
  readonly first: number;
  readonly count: number;
}

/** How an FFN for all tokens is made: the gate and up rows, and the columns of the down projection. */
export interface BundleRecipe {
  readonly layer: number;
  /** Whether it is the layer's only FFN, or stands beside experts. */
  readonly ffn: 'ffn' | 'shared';
  readonly neurons: number;
  readonly hiddenSize: number;
  /** `(neurons, hidden)`, of gated FFNs. */
  readonly gate?: string;
  /** `(neurons, hidden)` */
  readonly up: string;
  /** `(hidden, neurons)` */
  readonly down: string;
}

/** What a bundle's rows are made of, in their order. */
export function bundleRows({ gate, up }: Pick<BundleRecipe, 'gate' | 'up'>): readonly string[] {
  return gate === undefined ? [up] : [gate, up];
}

/** How the experts of a layer are made. */
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
  /** FFNs for all tokens, those of the first layers first. */
  readonly bundles: readonly BundleRecipe[];
  /** Layers with experts, the first ones first; none of other models. */
  readonly experts: readonly ExpertsRecipe[];
  /** What of the names above are views, and of what; others are those of checkpoint tensors. */
  readonly views: ReadonlyMap<string, SourceView>;
  /** Checkpoint tensors that carry nothing the model needs (a tied head's copy, buffers). */
  readonly ignored: readonly string[];
  /**
   * Of a model whose configuration ties the head, where the checkpoint holds a head all the same: the
   * recipe is right if both hold the same values. If not, the head is one of its own.
   */
  readonly twoHeads?: { readonly embedding: string; readonly head: string };
}

/** What a family reads from: the parsed config.json and the names in the checkpoint. */
export interface CheckpointFacts {
  readonly config: Readonly<Record<string, unknown>>;
  /** Path of config.json, for messages. */
  readonly configFile: string;
  readonly sourceNames: ReadonlySet<string>;
  /** How many it would have if all were there that an index lists; as many as there are names if absent. */
  readonly tensorCount?: number;
}

/** One file in this folder. */
export interface Family {
  /** Values of `model_type` in config.json. */
  readonly modelTypes: readonly string[];
  /** Fields of config.json that name the activation, the one that counts first; `hidden_act` alone unless said. */
  readonly activationKeys?: readonly string[];
  /** @throws InputError when the config is incomplete, contradictory or asks for what is not supported */
  recipe(facts: CheckpointFacts): ModelRecipe;
}

/** Weight dtypes of a converted model: `mixed` where its tensors, or the parts of its units, have several. */
export interface WeightDTypes {
  /** Embeddings, attention and head. */
  readonly resident: DType | 'mixed';
  readonly bundles: DType | 'mixed';
}

/** The head's tensor: its own, or the embedding when tied. */
export function headTensor(spec: ModelSpec): string {
  return spec.tiedHead ? tensorNames.tokens : tensorNames.head;
}
