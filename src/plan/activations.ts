/** The buffers for a forward pass's intermediate values: f32, for `chunk` positions at once. */

import { kernelSizes } from '../kernels/constants.ts';
import { attentionScratch } from '../kernels/kernels.ts';
import { neuronGroup, scratchBytes } from '../kernels/weight-kernels.ts';
import type { Positions } from '../models/positions.ts';
import type { ModelSpec } from '../models/spec.ts';
import { alignUp } from '../units.ts';
import type { AllActivationsPlace, AllActivationsSizes } from './all-activations.ts';
import {
  bitWords,
  type ListTables,
  layoutListTables,
  mostGroups,
  neuronBlock,
} from './list-layout.ts';

export { neuronBlock };

/**
 * Rows of hidden f32 for sums over groups of neurons: one per position, or one per group of a block
 * or a list, and one more.
 */
export function sumRows(chunk: number): number {
  return Math.max(chunk, Math.max(neuronBlock / neuronGroup, mostGroups) + 1);
}

/** The most neurons of a block, however few the positions. */
const mostNeurons = 4096;

/** The buffer that lists a block's neurons, and the limits on their number. */
export interface BlockRoom {
  /** The most positions at once. */
  readonly chunk: number;
  /** u32 (entries): addresses of a block's bundles. */
  readonly bundles: number;
  readonly entries: number;
}

/**
 * Number of an FFN's neurons computed at once: as many as fit the buffers of activations (chunk,
 * neuronBlock), sums and addresses. The fewer the blocks, the less often threads wait for each other.
 */
export function blockNeurons({ chunk, entries }: BlockRoom, positions: number): number {
  const activations = Math.floor((chunk * neuronBlock) / positions);
  const sums = (sumRows(chunk) - 1) * neuronGroup;
  return Math.max(neuronBlock, Math.min(entries, activations, sums));
}

/** Buffer for the quantised input of products, one input at a time. */
export interface QuantisedRoom {
  readonly address: number;
  readonly bytes: number;
}

export interface Activations extends BlockRoom {
  /** (chunk, hidden): the residual stream. */
  readonly hidden: number;
  /** (chunk, hidden): a sublayer's input. */
  readonly input: number;
  /** (chunk, hidden): the FFN's input where attention's input must not overwrite it; else the same buffer. */
  readonly ffnInput: number;
  /** (chunk, hidden): a sublayer's output. */
  readonly output: number;
  /** (chunk, (heads + 2 kvHeads) headDim) */
  readonly qkv: number;
  /** (chunk, heads headDim) */
  readonly attended: number;
  /** (headsTogether, context): attention scores of one position. */
  readonly scores: number;
  /** (chunk, rotaryPairs) each: cosines and sines of the angles by which queries and keys are rotated. */
  readonly cosines: number;
  readonly sines: number;
  /** The same for layers with a second rotary embedding; empty where there are none. */
  readonly local: { readonly cosines: number; readonly sines: number };
  /** (heads, context): with ALiBi, the bias that a head adds to scores; else 0. */
  readonly positionBias: number;
  /** (chunk, neuronBlock): activations of a block of neurons; see blockNeurons. */
  readonly neurons: number;
  /** The same for their gates, where FFNs are gated. */
  readonly gates: number;
  /** (sumRows, hidden): sums of neuron groups that are not yet added to the output. */
  readonly sums: number;
  /** (chunk, embedding): an embedding row, or the head's input. */
  readonly embedding: number;
  /** (logit positions, vocab) */
  readonly logits: number;
  /** Scratch where kernels unpack weights that several positions share. */
  readonly scratch: number;
  /** Buffer for a sublayer's quantised input; null where no format needs one. */
  readonly quantised: QuantisedRoom | null;
  /** With predictors only. */
  readonly lists: (ListTables & PredictorWork) | null;
  /** With experts only. */
  readonly experts: ExpertBuffers | null;
  /** Only with attention that computes keys and values from latent vectors. */
  readonly latent: LatentBuffers | null;
  /** Only where no down column can be used before the activations of all neurons are known. */
  readonly all: AllActivationsPlace | null;
  /** Bytes of all of these. */
  readonly bytes: number;
}

/** The buffers for routing to experts. */
export interface ExpertBuffers {
  /** (chunk, experts): the router's logits. */
  readonly logits: number;
  /** (chunk, hidden): the rows that take an expert. */
  readonly gathered: number;
  /** (chunk topK, hidden): the contribution of each expert to each row that takes it. */
  readonly contributions: number;
  /** u32 (chunk topK) and (chunk, topK) choices: the rows and experts that these contributions belong to. */
  readonly rows: number;
  readonly choices: number;
  /** (chunk, hidden) and (chunk): the output of the shared FFN, and its weight for each row. */
  readonly shared: number;
  readonly shares: number;
}

/** The buffers for computing keys and values from latent vectors. */
export interface LatentBuffers {
  /** (chunk, queryRank): the latent vectors of queries; empty where queries are computed from the input. */
  readonly query: number;
  /** (chunk, rope + rank) and (chunk, rank): the latent vectors of keys and values, and their norms. */
  readonly latent: number;
  readonly normed: number;
  /**
   * (chunk, heads (headDim - rope + value)): keys without positions, and values; then the output of
   * attention.
   */
  readonly keyValue: number;
}

/** The buffers for predicting. */
export interface PredictorWork {
  /** (chunk, rank): A x. */
  readonly reduced: number;
  /** u32 (chunk, bitWords): the neurons that each position wants, until they are copied. */
  readonly predicted: number;
  /** u32 (neurons): the neurons that any position of the chunk wants, until they are copied. */
  readonly union: number;
}

/** The most neurons of any layer, and the highest rank of any predictor. */
export interface PredictorSizes {
  readonly neurons: number;
  readonly rank: number;
}

export interface ActivationSizes {
  readonly address: number;
  readonly chunk: number;
  readonly context: number;
  /** Positions whose logits are kept. */
  readonly logits: number;
  /** Neurons of the largest unit computed as a whole. */
  readonly widestUnit: number;
  readonly predictors: PredictorSizes | null;
  readonly all: AllActivationsSizes | null;
  /** Bytes of the quantised input of products; 0 where it is not quantised. */
  readonly quantisedBytes: number;
}

/** Number of activations to allocate: for a chunk's block of neurons, or for one position's unit of k. */
export function activationValues(chunk: number, k: number): number {
  return Math.max(chunk * neuronBlock, k);
}

/** The most columns of any matrix. */
export function widestRow({ hiddenSize, embeddingSize, attention }: ModelSpec): number {
  const { heads, headDim, latent } = attention;
  const { queryRank = null, rank = 0 } = latent ?? {};
  return Math.max(hiddenSize, embeddingSize, heads * headDim, queryRank ?? 0, rank);
}

/** Pairs of a head's values that a rotary embedding rotates. */
export function rotaryPairs(positions: Positions | undefined): number {
  return positions?.kind === 'rotary' ? positions.dims / 2 : 0;
}

/** Number of gate values for `count` activations. */
export function gateValues({ ffn }: ModelSpec, count: number): number {
  return ffn.gate === 'none' ? 0 : count;
}

/** @param take allocates a place for a number of values */
function layoutExperts(
  { hiddenSize, ffn: { experts } }: ModelSpec,
  chunk: number,
  take: (values: number) => number,
): ExpertBuffers | null {
  if (experts === undefined) return null;
  const { count, topK, shared } = experts;
  return {
    logits: take(chunk * count),
    gathered: take(chunk * hiddenSize),
    contributions: take(chunk * topK * hiddenSize),
    rows: take(chunk * topK),
    choices: take((chunk * topK * kernelSizes.choiceBytes) / 4),
    shared: shared === 0 ? 0 : take(chunk * hiddenSize),
    shares: shared === 0 ? 0 : take(chunk),
  };
}

function layoutLatent(
  { attention: { heads, headDim, latent } }: ModelSpec,
  chunk: number,
  take: (values: number) => number,
): LatentBuffers | null {
  if (latent === undefined) return null;
  const { queryRank, rank, rope, value } = latent;
  return {
    query: take(chunk * (queryRank ?? 0)),
    latent: take(chunk * (rope + rank)),
    normed: take(chunk * rank),
    keyValue: take(chunk * heads * (headDim - rope + value)),
  };
}

const alignment = 64; // a cache line

export function layoutActivations(spec: ModelSpec, sizes: ActivationSizes): Activations {
  const { chunk, context, logits, widestUnit, predictors, all, quantisedBytes } = sizes;
  const { heads, kvHeads, headDim } = spec.attention;
  let end = alignUp(sizes.address, alignment);
  const take = (elements: number) => {
    const address = end;
    end = alignUp(end + elements * 4, alignment);
    return address;
  };
  const columns = Math.max(widestRow(spec), widestUnit, predictors?.rank ?? 0);
  const hidden = take(chunk * spec.hiddenSize);
  const input = take(chunk * spec.hiddenSize);
  const twoInputs = spec.block === 'parallel' && !spec.norm.shared;
  return {
    hidden,
    input,
    ffnInput: twoInputs ? take(chunk * spec.hiddenSize) : input,
    output: take(chunk * spec.hiddenSize),
    qkv: take(chunk * (heads + 2 * kvHeads) * headDim),
    attended: take(chunk * heads * headDim),
    scores: take(attentionScratch(context)),
    cosines: take(chunk * rotaryPairs(spec.positions)),
    sines: take(chunk * rotaryPairs(spec.positions)),
    local: {
      cosines: take(chunk * rotaryPairs(spec.localPositions)),
      sines: take(chunk * rotaryPairs(spec.localPositions)),
    },
    positionBias: spec.positions.kind === 'alibi' ? take(heads * context) : 0,
    neurons: take(activationValues(chunk, widestUnit)),
    gates: take(gateValues(spec, activationValues(chunk, widestUnit))),
    chunk,
    bundles: take(mostNeurons),
    entries: mostNeurons,
    sums: take(sumRows(chunk) * spec.hiddenSize),
    embedding: take(chunk * spec.embeddingSize),
    logits: take(logits * spec.vocabSize),
    scratch: take(scratchBytes(columns) / 4),
    quantised:
      quantisedBytes === 0 ? null : { address: take(quantisedBytes / 4), bytes: quantisedBytes },
    lists: predictors && {
      ...layoutListTables((bytes) => take(bytes / 4), { chunk, neurons: predictors.neurons }),
      reduced: take(chunk * predictors.rank),
      predicted: take(chunk * bitWords(predictors.neurons)),
      union: take(predictors.neurons),
    },
    experts: layoutExperts(spec, chunk, take),
    latent: layoutLatent(spec, chunk, take),
    all: all && { values: take(chunk * all.neurons), downs: take(all.downBytes / 4) },
    bytes: end - sizes.address,
  };
}
