/**
 * For models whose activations are never exactly 0 (SwiGLU, GELU): neurons whose gate is near 0 are treated
 * as 0, by a threshold on the gate's magnitude for each layer (CATS, Lee et al. 2024). A copy of the gate
 * rows in few bits decides this for every neuron, so that only the other neurons' bundles are read. The
 * threshold is the quantile of these rows' results over sample tokens, so that the requested share of neurons
 * is met in spite of rounding.
 */

import { compareMagnitudes } from '../engine/selectors/predicted-units.ts';
import { activationCodes } from '../kernels/constants.ts';
import type { ActivationFunction } from '../models/spec.ts';
import { reportOf } from './calibrate.ts';
import { CoarseRows, spread } from './coarse-rows.ts';
import type { LayerProblem, TrainedPredictor } from './layer.ts';

/** Tokens over which the quantile is computed: each gives as many magnitudes as there are neurons. */
const quantileTokens = 1024;
/** Bins of the histogram for each doubling of the magnitude. */
const binsPerDoubling = 512;
const [lowest, doublings] = [-24, 32];

/**
 * The gate rows of a layer in few bits with the threshold above which a neuron is wanted.
 * @param sparsity the share of neurons to treat as 0, above 0 and below 1
 */
export function magnitudePredictor(
  problem: LayerProblem,
  activation: ActivationFunction,
  sparsity: number,
): TrainedPredictor {
  const { work, hidden, neurons, samples, upBias, importance } = problem;
  const { kernels } = work;
  const rows = new CoarseRows(problem);
  const gates = rows.takeScores();
  const exact = rows.takeScores();
  const code = activationCodes[activation];

  const learned = samples.tokens - samples.heldOut;
  const magnitudes = new MagnitudeHistogram();
  rows.eachBatch(spread(0, learned, quantileTokens), ({ count }) => {
    rows.scores(gates, count);
    kernels.activation(gates, count * neurons, code);
    magnitudes.add(work.floats(gates, count * neurons));
  });
  const threshold = magnitudes.quantile(sparsity);

  const frequency = new Float32Array(neurons);
  const counts = { neurons: 0, fired: 0, mass: 0, predicted: 0, hits: 0, kept: 0 };
  rows.eachBatch(spread(learned, samples.heldOut, samples.heldOut), ({ count, activations }) => {
    const n = count * neurons;
    rows.scores(gates, count);
    compareMagnitudes(kernels, gates, n, activation, threshold);
    rows.exactScores(exact, count);
    compareMagnitudes(kernels, exact, n, activation, threshold);
    const wanted = work.floats(gates, n);
    const above = work.floats(exact, n);
    const values = work.floats(activations, n);
    for (let i = 0; i < n; i++) {
      const neuron = i % neurons;
      const weight = Math.abs(values[i] ?? 0) * (importance[neuron] ?? 0);
      const fired = (above[i] ?? 0) > 0;
      counts.mass += weight;
      if (fired) counts.fired++;
      if (!((wanted[i] ?? 0) > 0)) continue;
      counts.predicted++;
      counts.kept += weight;
      if (fired) counts.hits++;
      frequency[neuron]!++;
    }
    counts.neurons += n;
  });
  for (let i = 0; i < neurons; i++) frequency[i]! /= Math.max(1, samples.heldOut);
  return {
    form: 'rows',
    rank: hidden,
    relu: false,
    magnitude: { threshold },
    a: new Uint8Array(),
    b: rows.copy(),
    bias: upBias,
    frequency: rows.halves(frequency),
    report: reportOf(counts),
    curve: [],
  };
}

/** Histogram of magnitudes. */
class MagnitudeHistogram {
  readonly #bins = new Float64Array(doublings * binsPerDoubling);
  #count = 0;

  add(values: Float32Array): void {
    for (const value of values) {
      const at = Math.floor((Math.log2(Math.abs(value)) - lowest) * binsPerDoubling);
      // Includes magnitudes of 0, whose logarithm is not finite.
      this.#bins[at >= 0 ? Math.min(at, this.#bins.length - 1) : 0]!++;
    }
    this.#count += values.length;
  }

  /** The magnitude below which this share of all magnitudes lies. */
  quantile(share: number): number {
    let below = 0;
    for (const [bin, n] of this.#bins.entries()) {
      below += n;
      if (below >= share * this.#count) return 2 ** ((bin + 1) / binsPerDoubling + lowest);
    }
    return 0;
  }
}
