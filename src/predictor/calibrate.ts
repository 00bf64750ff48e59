/**
 * Finds the threshold of a predictor: the highest with which the predicted neurons keep a share of the
 * activations' weight. Scores are counted in bins, so that no array of the size tokens x neurons is needed.
 */

import type { PredictorReport } from '../flash/predictor-file.ts';

/** Bins of 1/128 for scores between -32 and 32. */
const binsPerUnit = 128;
const halfRange = 32;
const bins = 2 * halfRange * binsPerUnit;

/** A threshold that all scores exceed. */
export const lowestThreshold = -1e9;

export class ScoreHistogram {
  /** Scores beyond this, in either direction, share a bin. */
  static readonly halfRange = halfRange;
  /** Per bin: neurons, those that fired, and their weight in the output. */
  readonly #all = new Float64Array(bins);
  readonly #fired = new Float64Array(bins);
  readonly #mass = new Float64Array(bins);

  /**
   * Adds a token's scores.
   * @param activations (neurons), 0 where a neuron did not fire
   * @param importance (neurons)
   */
  add(scores: Float32Array, activations: Float32Array, importance: Float32Array): void {
    for (let i = 0; i < scores.length; i++) {
      const at = Math.floor(((scores[i] ?? 0) + halfRange) * binsPerUnit);
      const bin = at < 0 ? 0 : at < bins ? at : bins - 1;
      this.#all[bin]!++;
      const activation = Math.abs(activations[i] ?? 0);
      if (activation === 0) continue;
      this.#fired[bin]!++;
      this.#mass[bin]! += activation * (importance[i] ?? 0);
    }
  }

  /** Adds the counts of another one. */
  merge(other: ScoreHistogram): void {
    for (let bin = 0; bin < bins; bin++) {
      this.#all[bin]! += other.#all[bin] ?? 0;
      this.#fired[bin]! += other.#fired[bin] ?? 0;
      this.#mass[bin]! += other.#mass[bin] ?? 0;
    }
  }

  /** The highest threshold that keeps at least this share of the weight. */
  threshold(share: number): number {
    const total = sum(this.#mass);
    if (total === 0) return halfRange;
    let kept = 0;
    for (let bin = bins - 1; bin > 0; bin--) {
      kept += this.#mass[bin] ?? 0;
      if (kept >= share * total) return bin / binsPerUnit - halfRange;
    }
    return lowestThreshold;
  }

  /** The figures of predicting the neurons with scores above a threshold. */
  counts(threshold: number): PredictionCounts {
    const first = Math.ceil((threshold + halfRange) * binsPerUnit - 1e-6);
    const from = Math.min(bins, Math.max(0, first));
    return {
      neurons: sum(this.#all),
      fired: sum(this.#fired),
      mass: sum(this.#mass),
      predicted: sum(this.#all.subarray(from)),
      hits: sum(this.#fired.subarray(from)),
      kept: sum(this.#mass.subarray(from)),
    };
  }
}

export interface PredictionCounts {
  readonly neurons: number;
  readonly fired: number;
  readonly mass: number;
  readonly predicted: number;
  readonly hits: number;
  readonly kept: number;
}

export function addCounts(a: PredictionCounts, b: PredictionCounts): PredictionCounts {
  return {
    neurons: a.neurons + b.neurons,
    fired: a.fired + b.fired,
    mass: a.mass + b.mass,
    predicted: a.predicted + b.predicted,
    hits: a.hits + b.hits,
    kept: a.kept + b.kept,
  };
}

export function reportOf(counts: PredictionCounts): PredictorReport {
  const { neurons, fired, mass, predicted, hits, kept } = counts;
  const share = (part: number, whole: number) => (whole === 0 ? 1 : Math.min(1, part / whole));
  return {
    sparsity: 1 - share(fired, neurons),
    predicted: share(predicted, neurons),
    recall: share(hits, fired),
    precision: share(hits, predicted),
    mass: share(kept, mass),
  };
}

function sum(values: Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
