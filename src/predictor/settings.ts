/** What training is asked for, and what it does when nothing is said. */

import type { DType } from '../dtype.ts';
import type { Model } from '../engine/model.ts';
import { MIB } from '../units.ts';
import type { TrainingOptions } from './layer.ts';

export interface PredictTrainRequest {
  /** Bytes for the whole process. */
  readonly budget: number;
  /** See `documentsOf`. */
  readonly documents: AsyncIterable<string> | Iterable<string>;
  /** What the text is called in messages. */
  readonly corpus: string;
  readonly threads?: number;
  /** Tokens of the text that are used, at most; by default as many as take a bearable time. */
  readonly maxTokens?: number;
  readonly seed?: number;
  readonly epochs?: number;
  readonly recall?: number;
  readonly method?: TrainingOptions['method'];
  readonly relu?: boolean;
  /** The same rank for every layer, instead of one each by what it is worth. */
  readonly rank?: number;
  /** Bytes of all predictors, as a share of the model's weights. */
  readonly share?: number;
  /** A directory of published predictors that take the place of training. */
  readonly importFrom?: string;
  /**
   * For models whose activations are never exactly 0: the share of neurons, those of the smallest
   * gates, that shall count as 0 (CATS). Takes the place of training.
   */
  readonly thresholdSparsity?: number;
  readonly signal?: AbortSignal;
  /** Called with the share of all work that is done, 0 to 1, and what is under way. */
  readonly onProgress?: (done: number, what: string) => void;
}

/** A token costs about as many multiply-adds as the model has weights, and as much again to learn from. */
const defaultWork = 2e13;
const [fewestTokens, mostTokens] = [8192, 100_000];
/** Share of the model that predictors may take; a small one gives more, as its rows are short. */
const defaultShare = (modelBytes: number) => (modelBytes < 64 * MIB ? 0.06 : 0.04);
/**
 * Share of the activations' weight that is kept. On the bundled model, 99% left the most likely token
 * the same at 97.0% of the places, 99.5% at 98.1%, with 1.85 times as many neurons as fire, not 1.58.
 */
const defaultRecall = 0.995;
/** Bits buy less than rank: at equal bytes, q8 predicts 1.7 times what fires, q4 1.2 times. */
export const predictorDType: DType = 'q4';
function defaults(model: Model) {
  const bearable = Math.round(defaultWork / (model.weightBytes / 2));
  return {
    maxTokens: Math.max(fewestTokens, Math.min(mostTokens, bearable)),
    seed: 1,
    epochs: 3,
    recall: defaultRecall,
    method: 'train' as TrainingOptions['method'],
    relu: false,
    rank: undefined as number | undefined,
    share: defaultShare(model.weightBytes),
    importFrom: undefined as string | undefined,
    thresholdSparsity: undefined as number | undefined,
  };
}

/** A request with every default filled in. */
export type Settings = Omit<PredictTrainRequest, 'rank' | 'importFrom' | 'thresholdSparsity'> &
  ReturnType<typeof defaults>;

/** Fills in the defaults for a model. */
export function settingsFor(model: Model, request: PredictTrainRequest): Settings {
  return { ...defaults(model), ...withoutUndefined(request) };
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}
