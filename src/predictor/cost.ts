/**
 * What a predictor costs a token in time, so that kinds of predictors can be compared: a larger one
 * names fewer neurons, takes longer to score, and leaves less memory to neurons.
 */

import type { DeviceProfile } from '../flash/device-profile.ts';
import { smallestRead } from '../flash/read-plan.ts';
import type { LayerProblem } from './layer.ts';

/** Share of a layer's FFN that is in DRAM, its predictor included, as with half of a model in memory. */
const residentShare = 0.25;
/** Bytes per millisecond that kernels get through, on two cores (docs/LEARNED.md, "Kernels"). */
const kernelBytesPerMs = 12e6;
/** Processor time of a read, in milliseconds, whatever its size (docs/LEARNED.md, "Predictors"). */
const readMs = 0.045;
/** How far training brings the neurons that an approximation names towards those that fire. */
export const trainingGain = 0.66;
/** Factors are smaller: at about the same time they leave more memory to everything else. */
const worthTheBytes = 0.8;

/** One layer's predictor as far as its cost goes. */
export interface PredictorCost {
  /** Bytes that stay in DRAM. */
  readonly bytes: number;
  /** (neurons): share of tokens for which it names each. */
  readonly frequency: Float32Array;
}

type Layer = Pick<LayerProblem, 'neurons'> & { readonly bundleBytes: number };

/**
 * Milliseconds per token and layer: scoring, computing what is named, and reading what of that is not
 * in DRAM, when those neurons are that are named most.
 */
export function predictorMs(
  { bytes, frequency }: PredictorCost,
  { neurons, bundleBytes }: Layer,
  { bandwidth }: Pick<DeviceProfile, 'bandwidth'>,
): number {
  const slots = Math.max(
    0,
    Math.floor((residentShare * neurons * bundleBytes - bytes) / bundleBytes),
  );
  const sorted = frequency.slice().sort().reverse();
  let named = 0;
  let missed = 0;
  sorted.forEach((share, place) => {
    named += share;
    if (place >= slots) missed += share;
  });
  const perRead = readMs + (1000 * Math.max(smallestRead, bundleBytes)) / bandwidth;
  const whole = (1000 * neurons * bundleBytes) / bandwidth;
  const reading = Math.min(missed * perRead, whole);
  return (bytes + named * bundleBytes) / kernelBytesPerMs + reading;
}

/** Whether rows are worth their bytes, compared with factors. */
export function rowsPay(rows: number, factors: number): boolean {
  return rows < worthTheBytes * factors;
}

/** Frequencies of a predictor that names `times` as many neurons. */
export function scaled(frequency: Float32Array, times: number): Float32Array {
  return frequency.map((share) => Math.min(1, share * times));
}
