/**
 * A copy in few bits of the rows that decide whether a neuron fires (the gate's, or the up projection's where
 * there is none), and its scores for sample tokens. On a trained SwiGLU model made sparse, 4-bit rows predict
 * 1.02 times as many neurons as fire, while the best factors of rank 256 predict 4 times as many
 * (docs/LEARNED.md).
 */

import { byteLength, type DType } from '../dtype.ts';
import type { Address } from '../kernels/signature.ts';
import { scratchBytes } from '../kernels/weight-kernels.ts';
import type { LayerProblem } from './layer.ts';
import { storeRows } from './rows.ts';

/** Tokens at once. */
const batch = 64;

/** Bytes of the region in which rows of these sizes are made and evaluated. */
export function coarseRowsBytes(hidden: number, neurons: number): number {
  const floats = batch * (hidden + 3 * neurons) + 5 * neurons + 4096;
  return 4 * floats + neurons * byteLength('q8', hidden) + scratchBytes(hidden) + 4096;
}

/** A batch of tokens with their neurons' activations, valid until the next batch. */
export interface TokenBatch {
  readonly count: number;
  /** (count, neurons) f32: see `Samples.read` */
  readonly activations: Address;
}

export class CoarseRows {
  /** As they are stored. */
  readonly #stored: Address;
  readonly #bias: Address;
  readonly #x: Address;
  readonly #activations: Address;
  readonly #scratch: Address;
  readonly #problem: LayerProblem;

  /** Makes the coarse rows of a layer, in the format given by the options. */
  constructor(problem: LayerProblem) {
    const { work, hidden, neurons, up, upBias } = problem;
    const { dtype } = problem.options;
    this.#problem = problem;
    this.#stored = work.take(Math.ceil(this.bytes / 4));
    storeRows(work.kernels, {
      dtype,
      rows: neurons,
      columns: hidden,
      floats: up,
      stored: this.#stored,
    });
    this.#bias = work.take(neurons);
    work.floats(this.#bias, neurons).set(upBias);
    this.#x = work.take(batch * hidden);
    this.#activations = work.take(batch * neurons);
    this.#scratch = work.scratch(hidden);
  }

  get neurons(): number {
    return this.#problem.neurons;
  }

  /** Bytes of the rows as they are stored. */
  get bytes(): number {
    const { hidden, neurons, options } = this.#problem;
    return neurons * byteLength(options.dtype, hidden);
  }

  /** A place for a batch of scores: (64, neurons). */
  takeScores(): Address {
    return this.#problem.work.take(batch * this.#problem.neurons);
  }

  /** Calls `use` for batches of the sample tokens with these indices. */
  eachBatch(indices: readonly number[], use: (tokens: TokenBatch) => void): void {
    for (let at = 0; at < indices.length; at += batch) {
      const some = indices.slice(at, at + batch);
      this.#problem.samples.read(some, this.#x, this.#activations);
      use({ count: some.length, activations: this.#activations });
    }
  }

  /** Scores of the current batch: rows x + bias. */
  scores(target: Address, count: number): void {
    this.#multiply(this.#problem.options.dtype, this.#stored, target, count);
  }

  /** The same with the exact rows. */
  exactScores(target: Address, count: number): void {
    this.#multiply('f32', this.#problem.up, target, count);
  }

  /** A copy of the rows as they are stored. */
  copy(): Uint8Array {
    return new Uint8Array(this.#problem.work.memory.buffer, this.#stored, this.bytes).slice();
  }

  /** (neurons) shares as the f16 in which predictors store them. */
  halves(shares: Float32Array): Uint8Array {
    const { work, neurons } = this.#problem;
    return work.within(() => {
      const floats = work.take(neurons);
      work.floats(floats, neurons).set(shares);
      const halves = work.take(Math.ceil(neurons / 2));
      work.kernels.byDType.f16.fromF32(halves, floats, neurons);
      return new Uint8Array(work.memory.buffer, halves, 2 * neurons).slice();
    });
  }

  #multiply(format: DType, rows: Address, target: Address, count: number): void {
    const { hidden, neurons, work } = this.#problem;
    const { matmul } = work.kernels.byDType[format];
    matmul(
      target,
      this.#x,
      rows,
      this.#bias,
      neurons,
      hidden,
      count,
      hidden,
      neurons,
      this.#scratch,
    );
  }
}

/** Up to `most` of `count` indices from `first` on, spread evenly. */
export function spread(first: number, count: number, most: number): number[] {
  const n = Math.min(count, most);
  return Array.from({ length: n }, (_, i) => first + Math.floor((i * count) / n));
}
