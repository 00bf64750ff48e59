/** Input and result of training one layer's predictor. */

import { type EncodedDType, positiveF16 } from '../dtype.ts';
import type { PredictorReport } from '../flash/predictor-file.ts';
import type { Address } from '../kernels/signature.ts';
import type { RankCandidate } from './rank.ts';
import type { Samples } from './samples.ts';
import type { Workspace } from './workspace.ts';

/**
 * How a predictor is made. `rows`: the gate's rows in few bits. `low-rank`: two factors, trained.
 * `svd`: the best approximation of the up projection, with a threshold. `auto`: per layer rows or
 * trained factors, whichever costs a token less time.
 */
export const methods = ['auto', 'rows', 'low-rank', 'svd'] as const;
export type Method = (typeof methods)[number];

export interface TrainingOptions {
  /** See {@link Method}. */
  readonly method: Method;
  /** The most passes over the samples. */
  readonly epochs: number;
  readonly seed: number;
  /** Share of the activations' weight that predictions must keep. */
  readonly recall: number;
  /** Whether a ReLU stands between A and B. */
  readonly relu: boolean;
  /** Stored format of A and B. */
  readonly dtype: EncodedDType;
}

export interface LayerProblem {
  readonly hidden: number;
  readonly neurons: number;
  readonly samples: Samples;
  /**
   * f32 (neurons, hidden): the rows from which the neurons' activations are computed, in the workspace's
   * memory.
   */
  readonly up: Address;
  /** (neurons) */
  readonly upBias: Float32Array;
  /** (neurons): length of the down column, which is what an activation of 1 adds to the output. */
  readonly importance: Float32Array;
  readonly work: Workspace;
  readonly options: TrainingOptions;
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the share of the work that is done, 0 to 1. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** A predictor as f32: score = B f(A x) + bias. */
export interface Factors {
  readonly rank: number;
  /** (rank, hidden) */
  readonly a: Address;
  /** (neurons, rank) */
  readonly b: Address;
  /** (neurons) */
  readonly bias: Address;
}

export interface TrainedPredictor {
  /** `rows`: there is no A, and B consists of rows over the whole input. */
  readonly form: 'factors' | 'rows';
  readonly rank: number;
  readonly relu: boolean;
  /** Where the magnitude of activations decides: see `PredictorShape`. */
  readonly magnitude?: { readonly threshold: number };
  /** Rows of A and B as they are stored. */
  readonly a: Uint8Array;
  readonly b: Uint8Array;
  /** (neurons), the threshold folded in */
  readonly bias: Float32Array;
  /** f16 (neurons), as stored: share of held-out tokens for which the neuron is predicted. */
  readonly frequency: Uint8Array;
  readonly report: PredictorReport;
  /** The initial approximations of other ranks, for comparison. */
  readonly curve: readonly RankCandidate[];
}

/** (neurons): share of held-out tokens for which a predictor predicts each. */
export function frequencyOf({ frequency }: Pick<TrainedPredictor, 'frequency'>): Float32Array {
  const { buffer, byteOffset, byteLength } = frequency;
  return Float32Array.from(new Uint16Array(buffer, byteOffset, byteLength / 2), positiveF16);
}
