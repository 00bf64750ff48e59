/**
 * The initial predictor: the best approximation, of a given rank, of the neurons' pre-activations.
 *
 *     plain      of the up projection itself (truncated SVD), whatever it is multiplied with
 *     sampled    of pre-activations over sample tokens, each neuron's scaled to unit variance: their
 *                principal components
 *
 * Both are found by subspace iteration, which multiplies thin matrices only.
 */

import { Random } from '../engine/random.ts';
import type { Address } from '../kernels/signature.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import type { Factors, LayerProblem } from './layer.ts';

/** Directions beyond the rank, so that the last ones of the rank are found, too. */
const oversampling = 8;
const iterations = 4;
/** Steps of conjugate gradients. */
const conjugateSteps = 12;
/** Scores are scaled to this standard deviation: logits that are neither flat nor saturated. */
const scoreDeviation = 3;
/** Directions along which inputs vary less than this, relative to the widest one, count as constant. */
const flatShare = 1e-4;
/** The most tokens from which the sampled approximation is made; it needs few numbers of each neuron. */
const mostTokens = 4096;
/** Tokens over which variances are computed. */
const fewTokens = 512;

/** f32 that {@link factorise} takes from the workspace. */
export function factoriseFloats(hidden: number, neurons: number, rank: number): number {
  const columns = rank + oversampling;
  const passing = Math.max(64 * neurons, fewTokens * 1024);
  const inWork = 2 * neurons * columns + columns * (4 * hidden + blockColumns) + passing;
  return mostTokens * (hidden + columns) + inWork + rank * (hidden + neurons);
}

/** The best approximation of a rank, from which those of lower ranks can be cut. */
export interface Factorisation {
  readonly rank: number;
  /** (rank, hidden), the most important direction first. */
  readonly a: Address;
  /** (neurons, rank) */
  readonly b: Address;
  /** (neurons): the mean score. */
  readonly level: Float64Array;
  /** (rank): the mean of A x. */
  readonly centre: Float64Array;
}

/** Computes the approximation of a rank; it stays in the workspace. */
export async function factorise(
  problem: LayerProblem,
  rank: number,
  sampled: boolean,
): Promise<Factorisation> {
  const { hidden, neurons, work, up, upBias, options, signal } = problem;
  const target = { a: work.take(rank * hidden), b: work.take(neurons * rank) };
  const level = new Float64Array(neurons);
  const centre = new Float64Array(rank);
  const columns = Math.min(rank + oversampling, hidden, neurons);
  const random = new Random(options.seed);
  await work.during(async () => {
    const moments = momentsOf(problem, columns);
    await yieldToEventLoop(signal);
    const q = work.take(neurons * columns);
    const next = work.take(neurons * columns);
    const small = work.take(columns * hidden);
    const values = work.floats(q, neurons * columns);
    for (let i = 0; i < values.length; i++) values[i] = random.next() * 2 - 1;
    orthonormalise(problem, q, neurons, columns);
    // Neurons have equal weight, whatever the length of their rows; the plain approximation uses the rows
    // unscaled.
    const scale = sampled ? moments.deviations.map((d) => 1 / Math.max(d, 1e-6)) : null;
    for (let i = 0; i < iterations; i++) {
      project(problem, q, small, columns, scale); // (columns, hidden) = Q^T D W
      if (sampled) {
        throughCovariance(problem, small, small, columns, moments);
      }
      // (neurons, columns) = D W small^T
      work.kernels.byDType.f32.matmul(
        next,
        up,
        small,
        0,
        columns,
        hidden,
        neurons,
        hidden,
        columns,
        0,
      );
      const grown = work.floats(next, neurons * columns);
      if (scale !== null) scaleRows(grown, scale, columns);
      values.set(grown);
      orthonormalise(problem, q, neurons, columns);
      await yieldToEventLoop(signal);
    }
    project(problem, q, small, columns, scale);
    if (sampled) keepWhatInputsTake(problem, small, columns, moments);
    await yieldToEventLoop(signal);
    const reduced = work.floats(small, columns * hidden);
    const { mean, covarianceOf } = moments;
    // The variance along each direction; Q need not be sorted after so few iterations.
    const variances = Array.from({ length: columns }, (_, j) =>
      covarianceOf(reduced.subarray(j * hidden, (j + 1) * hidden)),
    );
    const order = variances
      .map((_, j) => j)
      .sort((x, y) => (variances[y] ?? 0) - (variances[x] ?? 0));
    const most = Math.sqrt(Math.max(...variances, 0));
    const a = work.floats(target.a, rank * hidden);
    const b = work.floats(target.b, neurons * rank);
    order.slice(0, rank).forEach((from, j) => {
      const row = reduced.subarray(from * hidden, (from + 1) * hidden);
      const deviation = Math.sqrt(Math.max(variances[from] ?? 0, 1e-12));
      // After a layer norm, inputs never leave one hyperplane: constant directions carry no information, and
      // scaled up to the variance of the others they would consist of rounding errors.
      const factor = deviation < flatShare * most ? 0 : 1 / deviation;
      let middle = 0;
      for (let k = 0; k < hidden; k++) {
        a[j * hidden + k] = (row[k] ?? 0) * factor;
        middle += (row[k] ?? 0) * factor * (mean[k] ?? 0);
      }
      centre[j] = middle;
      for (let i = 0; i < neurons; i++) {
        const weight = (values[i * columns + from] ?? 0) * deviation;
        b[i * rank + j] = sampled
          ? weight * scoreDeviation
          : weight * (scoreDeviation / moments.typical);
      }
    });
    const rows = work.floats(up, neurons * hidden);
    for (let i = 0; i < neurons; i++) {
      let sum = upBias[i] ?? 0;
      for (let k = 0; k < hidden; k++) sum += (rows[i * hidden + k] ?? 0) * (mean[k] ?? 0);
      level[i] = sum * scoreDeviation * (scale === null ? 1 / moments.typical : (scale[i] ?? 0));
    }
  });
  return { rank, ...target, level, centre };
}

/** Writes the first `target.rank` directions as a predictor. */
export function truncate(
  { hidden, neurons, work }: LayerProblem,
  { rank: whole, a, b, level, centre }: Factorisation,
  target: Factors,
): void {
  const { rank } = target;
  work.kernels.copyRows(target.a, a, rank, 4 * hidden, 4 * hidden, 4 * hidden);
  work.kernels.copyRows(target.b, b, neurons, 4 * rank, 4 * whole, 4 * rank);
  const weights = work.floats(target.b, neurons * rank);
  const bias = work.floats(target.bias, neurons);
  for (let i = 0; i < neurons; i++) {
    let value = level[i] ?? 0;
    for (let j = 0; j < rank; j++) value -= (weights[i * rank + j] ?? 0) * (centre[j] ?? 0);
    bias[i] = value;
  }
}

/** target (columns, hidden) = Q^T D W, with Q scaled in place and back. */
function project(
  { hidden, neurons, work, up }: LayerProblem,
  q: Address,
  target: Address,
  columns: number,
  scale: Float64Array | null,
): void {
  const values = work.floats(q, neurons * columns);
  if (scale !== null) scaleRows(values, scale, columns);
  work.kernels.gemm(target, q, up, columns, hidden, neurons, 1, columns, hidden, hidden, 0);
  if (scale !== null) {
    const back = scale.map((factor) => 1 / factor);
    scaleRows(values, back, columns);
  }
}

type Moments = ReturnType<typeof momentsOf>;

/** target (columns, hidden) = rows (X^T X), X being the sample inputs, centred; target may be rows. */
function throughCovariance(
  { hidden, work }: LayerProblem,
  target: Address,
  rows: Address,
  columns: number,
  { inputs, tokens, products }: Moments,
): void {
  const { byDType, gemm } = work.kernels;
  byDType.f32.matmul(products, inputs, rows, 0, columns, hidden, tokens, hidden, columns, 0);
  gemm(target, products, inputs, columns, hidden, tokens, 1, columns, hidden, hidden, 0);
}

/**
 * Removes from rows the components that no input reaches: the new row gives the same products with all sample
 * inputs and has no component outside their span. Such components only make the rounding to few bits coarser.
 * The new row is found by conjugate gradients starting from 0, X^T X row' = X^T X row, which never leave the
 * inputs' span and find the directions of large variance first.
 */
function keepWhatInputsTake(
  problem: LayerProblem,
  rows: Address,
  columns: number,
  moments: Moments,
): void {
  const { hidden, work } = problem;
  work.within(() => {
    const size = columns * hidden;
    const [left, step, through] = [work.take(size), work.take(size), work.take(size)];
    throughCovariance(problem, left, rows, columns, moments);
    const [x, r] = [work.floats(rows, size).fill(0), work.floats(left, size)];
    const [p, ap] = [work.floats(step, size), work.floats(through, size)];
    p.set(r);
    const squares = (values: Float32Array, others: Float32Array, row: number) => {
      let sum = 0;
      for (let i = row * hidden; i < (row + 1) * hidden; i++) {
        sum += (values[i] ?? 0) * (others[i] ?? 0);
      }
      return sum;
    };
    const length = Float64Array.from({ length: columns }, (_, row) => squares(r, r, row));
    for (let iteration = 0; iteration < conjugateSteps; iteration++) {
      throughCovariance(problem, through, step, columns, moments);
      for (let row = 0; row < columns; row++) {
        const before = length[row] ?? 0;
        const curvature = squares(p, ap, row);
        // The row is orthogonal to all inputs, or was found already.
        if (!(curvature > 0) || !(before > 0)) continue;
        const alpha = before / curvature;
        let after = 0;
        for (let i = row * hidden; i < (row + 1) * hidden; i++) {
          x[i]! += alpha * (p[i] ?? 0);
          r[i]! -= alpha * (ap[i] ?? 0);
          after += (r[i] ?? 0) ** 2;
        }
        const beta = after / before;
        for (let i = row * hidden; i < (row + 1) * hidden; i++) {
          p[i] = (r[i] ?? 0) + beta * (p[i] ?? 0);
        }
        length[row] = after;
      }
    }
  });
}

/** Statistics of inputs and pre-activations over some sample tokens. */
function momentsOf({ hidden, neurons, work, samples, up }: LayerProblem, columns: number) {
  const all = samples.tokens - samples.heldOut;
  const tokens = Math.min(mostTokens, all);
  const inputs = work.take(tokens * hidden);
  const products = work.take(tokens * columns);
  const places = Array.from({ length: tokens }, (_, i) => Math.floor((i * all) / tokens));
  const batch = Math.max(1, Math.min(64, tokens));
  work.within(() => {
    const acts = work.take(batch * neurons);
    for (let at = 0; at < tokens; at += batch) {
      samples.read(places.slice(at, at + batch), inputs + 4 * at * hidden, acts);
    }
  });
  const x = work.floats(inputs, tokens * hidden);
  const mean = new Float64Array(hidden);
  for (let t = 0; t < tokens; t++) {
    for (let k = 0; k < hidden; k++) mean[k]! += x[t * hidden + k] ?? 0;
  }
  for (let k = 0; k < hidden; k++) mean[k]! /= tokens;
  for (let t = 0; t < tokens; t++) {
    for (let k = 0; k < hidden; k++) x[t * hidden + k]! -= mean[k] ?? 0;
  }
  // Variance of each neuron's pre-activation: that of W x over some of the tokens.
  const deviations = new Float64Array(neurons);
  const few = Math.min(tokens, fewTokens);
  work.within(() => {
    const block = Math.min(neurons, 1024);
    const outputs = work.take(few * block);
    for (let first = 0; first < neurons; first += block) {
      const n = Math.min(block, neurons - first);
      const rows = up + 4 * first * hidden;
      const stride = Math.max(1, Math.floor(tokens / few)) * hidden;
      work.kernels.byDType.f32.matmul(outputs, inputs, rows, 0, n, hidden, few, stride, n, 0);
      const values = work.floats(outputs, few * n);
      for (let i = 0; i < n; i++) {
        let sum = 0;
        for (let t = 0; t < few; t++) sum += (values[t * n + i] ?? 0) ** 2;
        deviations[first + i] = Math.sqrt(sum / few);
      }
    }
  });
  const typical = Math.max(1e-6, deviations.reduce((a, b) => a + b, 0) / neurons);
  /** Variance of row . x. */
  const covarianceOf = (row: Float32Array) => {
    let sum = 0;
    for (let t = 0; t < few; t++) {
      const at = Math.floor((t * tokens) / few) * hidden;
      let product = 0;
      for (let k = 0; k < hidden; k++) product += (row[k] ?? 0) * (x[at + k] ?? 0);
      sum += product * product;
    }
    return sum / few;
  };
  return { inputs, products, tokens, mean, deviations, typical, covarianceOf };
}

function scaleRows(values: Float32Array, scale: Float64Array, columns: number): void {
  for (let i = 0; i < scale.length; i++) {
    const factor = scale[i] ?? 0;
    for (let j = 0; j < columns; j++) values[i * columns + j]! *= factor;
  }
}

/**
 * Columns orthogonalised against each other one by one; kernels orthogonalise them against all columns
 * before.
 */
const blockColumns = 32;

/** Makes the columns of q, (rows, columns), orthonormal. */
function orthonormalise({ work }: LayerProblem, q: Address, rows: number, columns: number): void {
  const { gemm } = work.kernels;
  work.within(() => {
    const products = work.take(columns * blockColumns);
    for (let first = 0; first < columns; first += blockColumns) {
      const n = Math.min(blockColumns, columns - first);
      const block = q + 4 * first;
      // Twice, to remove the rounding errors of the first time.
      for (let pass = 0; pass < 2; pass++) {
        if (first > 0) {
          gemm(products, q, block, first, n, rows, 1, columns, columns, n, 0);
          work.kernels.scale(products, first * n, -1);
          gemm(block, q, products, rows, n, first, columns, 1, n, columns, 1);
        }
        orthonormaliseBlock(work.floats(q, rows * columns), rows, columns, first, n);
      }
    }
  });
}

/** Modified Gram-Schmidt over some columns, in double precision. */
function orthonormaliseBlock(
  values: Float32Array,
  rows: number,
  columns: number,
  first: number,
  n: number,
): void {
  // Transposed, so that memory is accessed in order.
  const q = new Float64Array(rows * n);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < n; j++) q[j * rows + i] = values[i * columns + first + j] ?? 0;
  }
  for (let j = 0; j < n; j++) {
    const column = q.subarray(j * rows, (j + 1) * rows);
    for (let earlier = 0; earlier < j; earlier++) {
      const other = q.subarray(earlier * rows, (earlier + 1) * rows);
      let dot = 0;
      for (let i = 0; i < rows; i++) dot += (column[i] ?? 0) * (other[i] ?? 0);
      for (let i = 0; i < rows; i++) column[i]! -= dot * (other[i] ?? 0);
    }
    let length = 0;
    for (let i = 0; i < rows; i++) length += (column[i] ?? 0) ** 2;
    const factor = length > 1e-24 ? 1 / Math.sqrt(length) : 0;
    for (let i = 0; i < rows; i++) column[i]! *= factor;
  }
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < n; j++) values[i * columns + first + j] = q[j * rows + i] ?? 0;
  }
}
