/**
 * For models whose activations are never exactly 0 (SwiGLU, GELU): neurons whose gate is near 0 are
 * taken for 0, by a threshold on its magnitude for each layer (CATS, Lee et al. 2024). A copy of the
 * gate rows in few bits decides that for every neuron, so that only the others' bundles are read; the
 * threshold is the quantile that these rows give over sample tokens, so that the share of neurons
 * that is asked for is met whatever rounding does.
 */

import { byteLength } from '../dtype.ts';
import { compareMagnitudes } from '../engine/predictor.ts';
import { type Address, activationCodes } from '../kernels/kernels.ts';
import { scratchBytes } from '../kernels/weight-kernels.ts';
import type { Activation } from '../models/spec.ts';
import { reportOf } from './calibrate.ts';
import type { LayerProblem, TrainedPredictor } from './layer.ts';
import { storeRows } from './rows.ts';

/** Tokens at once. */
const batch = 64;
/** Tokens that the quantile is taken over: of each one gives as many magnitudes as there are neurons. */
const quantileTokens = 1024;
/** Magnitudes are told apart down to a 512th of themselves. */
const binsPerDoubling = 512;
const [lowest, doublings] = [-24, 32];

/** Bytes of the region in which a layer of these sizes is calibrated. */
export function magnitudeBytes(hidden: number, neurons: number): number {
  const floats = batch * (hidden + 3 * neurons) + 2 * neurons + 4096;
  return 4 * floats + neurons * byteLength('q8', hidden) + scratchBytes(hidden) + 4096;
}

/**
 * The gate rows of a layer in few bits with the threshold above which a neuron is wanted.
 * @param sparsity the share of neurons that shall be taken for 0, above 0 and below 1
 */
export function magnitudePredictor(
  problem: LayerProblem,
  activation: Activation,
  sparsity: number,
): TrainedPredictor {
  const { work, hidden, neurons, samples, up, upBias, importance } = problem;
  const { dtype } = problem.options;
  const { kernels } = work;
  const rowBytes = byteLength(dtype, hidden);
  const stored = work.take(Math.ceil((neurons * rowBytes) / 4));
  storeRows(kernels, { dtype, rows: neurons, columns: hidden, floats: up, stored });
  const bias = work.take(neurons);
  work.floats(bias, neurons).set(upBias);
  const x = work.take(batch * hidden);
  const acts = work.take(batch * neurons);
  const gates = work.take(batch * neurons);
  const exact = work.take(batch * neurons);
  const scratch = work.scratch(hidden);
  const code = activationCodes[activation];

  /** Gates of some tokens by rows of a format. */
  const gatesBy = (format: 'f32' | typeof dtype, rows: Address, target: Address, count: number) => {
    const { matmul } = kernels.byDType[format];
    matmul(target, x, rows, bias, neurons, hidden, count, hidden, neurons, scratch);
  };
  /** Calls `use` for batches of tokens [first, first + count). */
  const eachBatch = (first: number, count: number, use: (n: number) => void) => {
    for (let at = 0; at < count; at += batch) {
      const n = Math.min(batch, count - at);
      samples.read(
        Array.from({ length: n }, (_, i) => first + at + i),
        x,
        acts,
      );
      use(n);
    }
  };

  const learned = samples.tokens - samples.heldOut;
  const magnitudes = new MagnitudeHistogram();
  eachBatch(0, Math.min(learned, quantileTokens), (n) => {
    gatesBy(dtype, stored, gates, n);
    kernels.activation(gates, n * neurons, code);
    magnitudes.add(work.floats(gates, n * neurons));
  });
  const threshold = magnitudes.quantile(sparsity);

  const frequency = new Float32Array(neurons);
  const counts = { neurons: 0, fired: 0, mass: 0, predicted: 0, hits: 0, kept: 0 };
  eachBatch(learned, samples.heldOut, (n) => {
    gatesBy(dtype, stored, gates, n);
    compareMagnitudes(kernels, gates, n * neurons, activation, threshold);
    gatesBy('f32', up, exact, n);
    compareMagnitudes(kernels, exact, n * neurons, activation, threshold);
    const wanted = work.floats(gates, n * neurons);
    const above = work.floats(exact, n * neurons);
    const values = work.floats(acts, n * neurons);
    for (let i = 0; i < wanted.length; i++) {
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
    counts.neurons += n * neurons;
  });
  for (let i = 0; i < neurons; i++) frequency[i]! /= Math.max(1, samples.heldOut);
  const shares = work.take(neurons);
  work.floats(shares, neurons).set(frequency);
  const halves = work.take(Math.ceil(neurons / 2));
  kernels.byDType.f16.fromF32(halves, shares, neurons);
  const bytesAt = (address: Address, bytes: number) =>
    new Uint8Array(work.memory.buffer, address, bytes).slice();
  return {
    rank: hidden,
    relu: false,
    magnitude: { threshold },
    a: new Uint8Array(),
    b: bytesAt(stored, neurons * rowBytes),
    bias: upBias,
    frequency: bytesAt(halves, 2 * neurons),
    report: reportOf(counts),
    curve: [],
  };
}

/** How often magnitudes of which size occur. */
class MagnitudeHistogram {
  readonly #bins = new Float64Array(doublings * binsPerDoubling);
  #count = 0;

  add(values: Float32Array): void {
    for (const value of values) {
      const at = Math.floor((Math.log2(Math.abs(value)) - lowest) * binsPerDoubling);
      // Also those of 0, whose logarithm is not finite.
      this.#bins[at >= 0 ? Math.min(at, this.#bins.length - 1) : 0]!++;
    }
    this.#count += values.length;
  }

  /** The magnitude that this share of all stays below. */
  quantile(share: number): number {
    let below = 0;
    for (const [bin, n] of this.#bins.entries()) {
      below += n;
      if (below >= share * this.#count) return 2 ** ((bin + 1) / binsPerDoubling + lowest);
    }
    return 0;
  }
}
