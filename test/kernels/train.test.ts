/** The kernels that predictors are trained with, against double precision. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kernels } from '../../src/kernels/kernels.ts';
import { assertClose, Bench, bitsOf, builds, Random } from './support.ts';
import { createThreadedKernels } from './threaded-kernels.ts';

const numbers = (random: Random, n: number, size = 1) =>
  Array.from({ length: n }, () => Math.fround(size * random.unit()));

/** m, n, k: tiles that are whole, cut at each side, and deeper than what is summed up at once. */
const shapes = [
  [1, 1, 1],
  [4, 8, 1],
  [5, 9, 3],
  [3, 7, 300],
  [8, 16, 256],
  [9, 23, 257],
  [33, 40, 64],
] as const;

for (const build of builds) {
  const bench = await Bench.create(4 << 20, build);
  const { kernels } = bench;

  test(`gemm agrees with double precision, however A lies (${build})`, () => {
    const random = new Random(3);
    for (const [m, n, k] of shapes) {
      for (const transposed of [false, true]) {
        for (const accumulate of [0, 1] as const) {
          bench.reset();
          const [aRow, aCol] = transposed ? [1, m + 1] : [k + 2, 1];
          const [bStride, cStride] = [n + 3, n + 1];
          const as = numbers(random, (m + 2) * (k + 2) + m + k);
          const bs = numbers(random, k * bStride);
          const cs = numbers(random, m * cStride);
          const [a, b, c] = [bench.putFloats(as), bench.putFloats(bs), bench.putFloats(cs)];
          kernels.gemm(c, a, b, m, n, k, aRow, aCol, bStride, cStride, accumulate);
          const got = bench.floats(c, m * cStride);
          for (let i = 0; i < m; i++) {
            for (let j = 0; j < n; j++) {
              let [wanted, size] = [accumulate * cs[i * cStride + j]!, 1];
              for (let d = 0; d < k; d++) {
                const product = as[i * aRow + d * aCol]! * bs[d * bStride + j]!;
                wanted += product;
                size += Math.abs(product);
              }
              const error = Math.abs(got[i * cStride + j]! - wanted);
              assert.ok(error <= size * 1e-6, `${[m, n, k]} at ${[i, j]}: error ${error}`);
            }
            // What lies between the rows is somebody else's.
            assert.equal(got[i * cStride + n], cs[i * cStride + n]);
          }
        }
      }
    }
  });

  test(`the gradient is that of the weighted logistic loss (${build})`, () => {
    const random = new Random(5);
    const [floor, most, idle] = [1, 9, 0.5];
    for (const n of [1, 3, 4, 17, 64]) {
      bench.reset();
      const [positions, scoreStride, actStride] = [3, n + 2, n + 1];
      const scores = numbers(random, positions * scoreStride, 8);
      scores[0] = 200; // neither this nor that overflows
      scores[scoreStride] = -200;
      const acts = numbers(random, positions * actStride, 4).map((v) => Math.max(0, v));
      const importance = numbers(random, n, 5).map(Math.abs);
      const weightOf = (p: number, i: number) => {
        const act = acts[p * actStride + i]!;
        return act > 0 ? Math.min(most, floor + importance[i]! * act) : idle;
      };
      const loss = (p: number, i: number, score: number) => {
        const fired = acts[p * actStride + i]! > 0;
        const z = fired ? -score : score;
        return weightOf(p, i) * (Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))));
      };
      const s = bench.putFloats(scores);
      const t = bench.putFloats(acts);
      const w = bench.putFloats(importance);
      kernels.logisticGradient(s, t, w, n, positions, scoreStride, actStride, floor, most, idle);
      for (let p = 0; p < positions; p++) {
        const wanted = Array.from({ length: n }, (_, i) => {
          const score = scores[p * scoreStride + i]!;
          const h = 1e-4;
          return (loss(p, i, score + h) - loss(p, i, score - h)) / (2 * h);
        });
        const got = bench.floats(s + 4 * p * scoreStride, n);
        assertClose(got, wanted, () => 1e-4, `gradient of ${n}`);
      }
    }
  });

  test(`AdamW takes the steps of its definition (${build})`, () => {
    const random = new Random(9);
    const [rate, beta1, beta2, decay] = [0.01, 0.9, 0.99, 0.1];
    for (const n of [1, 4, 7, 30]) {
      bench.reset();
      const weights = numbers(random, n);
      const [first, second] = [new Array<number>(n).fill(0), new Array<number>(n).fill(0)];
      const w = bench.putFloats(weights);
      const [m, v] = [bench.putFloats(first), bench.putFloats(second)];
      for (let step = 1; step <= 5; step++) {
        const gradients = numbers(random, n);
        const g = bench.putFloats(gradients);
        const [c1, c2] = [1 / (1 - beta1 ** step), 1 / (1 - beta2 ** step)];
        kernels.adamw(w, g, m, v, n, rate, beta1, beta2, decay, c1, c2);
        for (let i = 0; i < n; i++) {
          first[i] = beta1 * first[i]! + (1 - beta1) * gradients[i]!;
          second[i] = beta2 * second[i]! + (1 - beta2) * gradients[i]! ** 2;
          const change = (first[i]! * c1) / (Math.sqrt(second[i]! * c2) + 1e-8);
          weights[i]! -= rate * (change + decay * weights[i]!);
        }
      }
      assertClose(bench.floats(w, n), weights, () => 1e-5, `weights of ${n}`);
    }
  });
}

test('threads give what one gives, to the bit', async () => {
  const bench = await Bench.create(16 << 20);
  const threaded = await createThreadedKernels(bench.memory, 3);
  try {
    const random = new Random(11);
    const [m, n, k] = [130, 251, 300];
    const a = bench.putFloats(numbers(random, m * k));
    const b = bench.putFloats(numbers(random, k * n));
    const importance = bench.putFloats(numbers(random, n).map(Math.abs));
    const results = [bench.kernels, threaded].map((kernels: Kernels) => {
      const c = bench.allocate(4 * m * n);
      const moments = bench.putFloats(new Array<number>(2 * m * n).fill(0));
      kernels.gemm(c, a, b, m, n, k, k, 1, n, n, 0);
      const weights = bench.allocate(4 * m * n);
      bench.floats(weights, m * n).set(bench.floats(c, m * n));
      kernels.logisticGradient(c, b, importance, n, m, n, n, 1, 9, 1);
      kernels.adamw(weights, c, moments, moments + 4 * m * n, m * n, 0.1, 0.9, 0.99, 0, 10, 100);
      return [...bitsOf(bench.floats(c, m * n)), ...bitsOf(bench.floats(weights, m * n))];
    });
    assert.deepEqual(results[1], results[0]);
  } finally {
    await threaded.close();
  }
});
