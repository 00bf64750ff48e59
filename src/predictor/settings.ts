/** The request for a training, and its defaults. */

import { ordersMatter } from '../arrange/layer-order.ts';
import type { EncodedDType } from '../dtype.ts';
import type { Documents } from '../engine/documents.ts';
import type { Model } from '../engine/model.ts';
import { weightCount } from '../flash/manifest.ts';
import { MIB } from '../units.ts';
import type { Method } from './layer.ts';

export interface PredictTrainRequest {
  /** Bytes for the whole process. */
  readonly budget: number;
  /** See `documentParts`. */
  readonly documents: Documents;
  /** Name of the text in messages. */
  readonly corpus: string;
  readonly threads?: number;
  /** The most tokens of the text to use; by default as many as take a tolerable time. */
  readonly maxTokens?: number;
  readonly seed?: number;
  readonly epochs?: number;
  readonly recall?: number;
  readonly method?: Method;
  readonly relu?: boolean;
  /** The same rank for every layer, instead of choosing one for each. */
  readonly rank?: number;
  /** Bytes of all predictors, as a share of the model's weights. */
  readonly share?: number;
  /** A directory of published predictors to use instead of training. */
  readonly importFrom?: string;
  /**
   * For models whose activations are never exactly 0: the share of neurons, those with the smallest gates, to
   * treat as 0 (CATS). Replaces training.
   */
  readonly thresholdSparsity?: number;
  /**
   * Whether to place neurons that fire together side by side. By default this is done where it matters and
   * where the model's manifest shows that it was not done before.
   */
  readonly arrange?: boolean;
  readonly signal?: AbortSignal;
  /** Called with the share of all work that is done, 0 to 1, and the name of the present step. */
  readonly onProgress?: (done: number, what: string) => void;
  /** Called earlier, while the text is read, with the tokens so far and the number wanted. */
  readonly onReading?: (tokens: number, wanted: number) => void;
}

/** A token costs about as many multiply-adds as the model has weights, and as much again to learn from. */
const defaultWork = 2e13;
const [fewestTokens, mostTokens] = [8192, 100_000];
/** A threshold per layer takes fewer tokens than factors do. */
const [rowWork, fewestRowTokens, mostRowTokens] = [2e12, 1024, 4096];
/** Share of the model that predictors may take; in a small model it is larger, as its rows are short. */
const defaultShare = (modelBytes: number) => (modelBytes < 64 * MIB ? 0.06 : 0.04);
/**
 * Share of the activations' weight that is kept. With 99.5%, the most likely token stays the same at 98.3% of
 * the positions in the bundled model and at 97.8% in another one; with 99.7% it is 98.3% in the latter, at
 * the cost of 7% more neurons.
 */
const defaultRecall = 0.997;
/**
 * A higher rank is worth more than more bits: at equal bytes, q8 predicts 1.7 times as many neurons as fire,
 * q4 1.2 times.
 */
export const predictorDType: EncodedDType = 'q4';
/** Smaller FFNs fit any memory. */
const smallestArranged = 32 * MIB;

/** Rearranging neurons writes the whole model again, so it is done only where it reduces reads. */
function arrangesByDefault(
  { manifest }: Model,
  { thresholdSparsity }: PredictTrainRequest,
): boolean {
  const bytes = manifest.layers.reduce((sum, l) => sum + l.neurons * l.bundleBytes, 0);
  // Without exact zeros, every neuron fires at every token in the samples.
  if (thresholdSparsity !== undefined || bytes < smallestArranged) return false;
  return manifest.layers.every((layer) => ordersMatter(layer) && layer.order === undefined);
}

function defaults(model: Model, request: PredictTrainRequest) {
  const bearable = Math.round(defaultWork / weightCount(model.manifest));
  return {
    maxTokens: Math.max(fewestTokens, Math.min(mostTokens, bearable)),
    seed: 1,
    epochs: 3,
    recall: defaultRecall,
    method: 'auto' as Method,
    relu: false,
    rank: undefined as number | undefined,
    share: defaultShare(model.weightBytes),
    importFrom: undefined as string | undefined,
    thresholdSparsity: undefined as number | undefined,
    arrange: arrangesByDefault(model, request),
  };
}

/** A request with every default filled in. */
export type Settings = Omit<PredictTrainRequest, 'rank' | 'importFrom' | 'thresholdSparsity'> &
  ReturnType<typeof defaults>;

/** Fills in the defaults for a model. A given rank, size or number of passes implies factors. */
export function settingsFor(model: Model, request: PredictTrainRequest): Settings {
  const settings = { ...defaults(model, request), ...withoutUndefined(request) };
  const { rank, share, epochs, relu, importFrom, thresholdSparsity } = request;
  if (thresholdSparsity !== undefined) return { ...settings, method: 'rows' };
  const factors = [rank, share, epochs, relu, importFrom].some((value) => value !== undefined);
  return settings.method === 'auto' && factors ? { ...settings, method: 'low-rank' } : settings;
}

/** The number of tokens that rows need, where they replace training. */
export function rowTokens(model: Model, { maxTokens }: Pick<Settings, 'maxTokens'>): number {
  const bearable = Math.round(rowWork / weightCount(model.manifest));
  return Math.min(maxTokens, Math.max(fewestRowTokens, Math.min(mostRowTokens, bearable)));
}

/** The settings that results depend on. */
export function decisive(settings: Settings) {
  const { seed, epochs, recall, method, relu, rank, share, arrange } = settings;
  const { importFrom, thresholdSparsity } = settings;
  return {
    seed,
    epochs,
    recall,
    method,
    relu,
    rank,
    share,
    importFrom,
    thresholdSparsity,
    arrange,
  };
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;
}
