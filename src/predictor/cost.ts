/**
 * Estimates the time that a predictor costs a token, to compare kinds of predictors: a larger one predicts
 * fewer neurons, takes longer to compute scores, and leaves less memory to neurons.
 */

import { type LayerSize, missCost, type ReadCosts } from '../plan/miss-cost.ts';
import { wantedOf } from '../plan/share-slots.ts';

/** Share of a layer's FFN that is in DRAM, its predictor included, as with half of a model in memory. */
const residentShare = 0.25;
/** Bytes per millisecond that kernels process, on two cores (docs/LEARNED.md, "Kernels"). */
const kernelBytesPerMs = 12e6;
/**
 * How far training brings the number of predicted neurons from that of an approximation towards that of the
 * neurons that fire.
 */
export const trainingGain = 0.66;
/** Factors are smaller: at about the same time they leave more memory to everything else. */
const worthTheBytes = 0.8;
/** Milliseconds that training factors may take even if they save little. */
const bearableMs = 180_000;
/** Training that takes longer must save a tenth of the time that rows cost. */
const worthTheWait = 1 / 0.9;
/** Multiply-adds per millisecond of training, on two cores. */
const workPerMs = 2e7;

/** The properties of one layer's predictor that determine its cost. */
export interface PredictorCost {
  /** Bytes that stay in DRAM. */
  readonly bytes: number;
  /** (neurons): share of tokens for which it predicts each. */
  readonly frequency: Float32Array;
}

/**
 * Milliseconds per token and layer: computing scores, computing the predicted neurons, and reading those of
 * them that are not in DRAM, if the neurons predicted most are in DRAM. Misses that lie close together share
 * a read, so that a predictor of many neurons costs as much as the whole layer, and no more.
 */
export function predictorMs(
  { bytes, frequency }: PredictorCost,
  layer: LayerSize,
  costs: ReadCosts,
): number {
  const { neurons, bundleBytes } = layer;
  const slots = Math.max(
    0,
    Math.floor((residentShare * neurons * bundleBytes - bytes) / bundleBytes),
  );
  const { named, missed } = wantedOf(frequency, slots);
  const computing = (bytes + named * bundleBytes) / kernelBytesPerMs;
  return computing + missCost(missed, layer, costs).ms;
}

/** Whether rows are worth their bytes, compared with trained factors. */
export function rowsPay(rows: number, factors: number): boolean {
  return rows < worthTheBytes * factors;
}

/**
 * Whether to make rows rather than train factors.
 * @param rows milliseconds per token and layer, as `factors`
 * @param trainingMs the time that training the factors of all layers would take
 */
export function rowsSettle(rows: number, factors: number, trainingMs: number): boolean {
  return trainingMs <= bearableMs ? rowsPay(rows, factors) : rows < worthTheWait * factors;
}

/** Sizes that the work of training factors depends on. */
export interface TrainingWork {
  readonly layers: number;
  readonly tokens: number;
  readonly epochs: number;
  readonly hidden: number;
  readonly neurons: number;
  readonly rank: number;
  /** The number of weights of one layer, all of which every token uses. */
  readonly layerWeights: number;
}

/** Milliseconds, on two cores: a pass over the layers, and three over the factors for every epoch. */
export function trainingMs(work: TrainingWork): number {
  const { layers, tokens, epochs, hidden, neurons, rank, layerWeights } = work;
  const perToken = layerWeights + 3 * epochs * rank * (hidden + neurons);
  return (layers * tokens * perToken) / workPerMs;
}

/** Frequencies of a predictor that predicts `times` as many neurons. */
export function scaled(frequency: Float32Array, times: number): Float32Array {
  return frequency.map((share) => Math.min(1, share * times));
}
