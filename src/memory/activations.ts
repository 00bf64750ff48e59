/** Where a forward pass keeps its intermediate values: f32, for `chunk` positions at once. */

import { neuronGroup, scratchBytes } from '../kernels/kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import { alignUp } from '../units.ts';

/** Neurons of an FFN that are computed in one go; bounds the activations' memory. */
export const neuronBlock = 1024;

/** Rows of hidden f32 for sums over groups of neurons: one per position, or one per group of a block. */
export function sumRows(chunk: number): number {
  return Math.max(chunk, neuronBlock / neuronGroup + 1);
}

export interface Activations {
  /** (chunk, hidden): the residual stream. */
  readonly hidden: number;
  /** (chunk, hidden): a sublayer's input. */
  readonly input: number;
  /** (chunk, hidden): a sublayer's output. */
  readonly output: number;
  /** (chunk, (heads + 2 kvHeads) headDim) */
  readonly qkv: number;
  /** (chunk, heads headDim) */
  readonly attended: number;
  /** (context): attention scores of one query. */
  readonly scores: number;
  /** (chunk, neuronBlock): activations of a block of neurons. */
  readonly neurons: number;
  /** u32 (neuronBlock): addresses of a block's bundles. */
  readonly bundles: number;
  /** (sumRows, hidden): sums of neuron groups that are not yet added to the output. */
  readonly sums: number;
  /** (chunk, embedding): an embedding row, or the head's input. */
  readonly embedding: number;
  /** (logit positions, vocab) */
  readonly logits: number;
  /** Where kernels unpack weights that several positions share. */
  readonly scratch: number;
  /** Bytes of all of these. */
  readonly bytes: number;
}

export interface ActivationSizes {
  readonly address: number;
  readonly chunk: number;
  readonly context: number;
  /** Positions whose logits are kept. */
  readonly logits: number;
}

/** The most columns of any matrix. */
export function widestRow({ hiddenSize, embeddingSize, attention }: ModelSpec): number {
  return Math.max(hiddenSize, embeddingSize, attention.heads * attention.headDim);
}

const alignment = 64; // a cache line

export function layoutActivations(spec: ModelSpec, sizes: ActivationSizes): Activations {
  const { chunk, context, logits } = sizes;
  const { heads, kvHeads, headDim } = spec.attention;
  let end = alignUp(sizes.address, alignment);
  const take = (elements: number) => {
    const address = end;
    end = alignUp(end + elements * 4, alignment);
    return address;
  };
  return {
    hidden: take(chunk * spec.hiddenSize),
    input: take(chunk * spec.hiddenSize),
    output: take(chunk * spec.hiddenSize),
    qkv: take(chunk * (heads + 2 * kvHeads) * headDim),
    attended: take(chunk * heads * headDim),
    scores: take(context),
    neurons: take(chunk * neuronBlock),
    bundles: take(neuronBlock),
    sums: take(sumRows(chunk) * spec.hiddenSize),
    embedding: take(chunk * spec.embeddingSize),
    logits: take(logits * spec.vocabSize),
    scratch: take(scratchBytes(widestRow(spec)) / 4),
    bytes: end - sizes.address,
  };
}
