import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isQuantised, neuronDTypes } from '../../src/dtype.ts';
import {
  type ActivationCode,
  activationCodes,
  type KernelActivation,
} from '../../src/kernels/constants.ts';
import { scratchBytes } from '../../src/kernels/weight-kernels.ts';
import { putBundles } from './bundles.ts';
import { activations, fatreluThreshold } from './reference.ts';
import { activationError, assertClose, Bench, bitsOf, builds, Random } from './support.ts';

/** neurons, cols, positions */
const shapes = [
  [1, 1, 1],
  [1, 8, 2],
  [2, 5, 1],
  [3, 17, 4],
  [4, 16, 1],
  [7, 33, 6],
  [19, 40, 1],
  [70, 24, 5],
  [150, 65, 9],
  [20, 192, 3],
] as const;

const kinds = builds.flatMap((build) => neuronDTypes.map((dtype) => [build, dtype] as const));

for (const [build, dtype] of kinds) {
  const bench = await Bench.create(8 << 20, build);
  const { ffnUp } = bench.kernels.byDType[dtype];

  test(`ffn up ${dtype} (${build}) agrees with double precision, and with itself when split`, () => {
    const random = new Random(3);
    for (const [count, cols, positions] of shapes) {
      for (const activation of ['none', 'relu', 'fatrelu'] as const) {
        bench.reset();
        const { ptrs, up } = putBundles(bench, dtype, count, cols, random);
        const xs = Array.from({ length: cols * positions }, () => Math.fround(random.unit()));
        const biases = Array.from({ length: count }, () => Math.fround(random.unit()));
        const x = bench.putFloats(xs);
        const bias = bench.putFloats(biases);
        const stride = count + 3;
        const acts = bench.allocate(4 * stride * positions);
        const parts = bench.allocate(4 * stride * positions);
        const scratch = bench.allocate(scratchBytes(cols));
        const code = activationCodes[activation];
        const once = isQuantised(dtype) ? scratch : 0;
        const threshold = -1e30;
        ffnUp(acts, x, ptrs, bias, count, cols, positions, cols, stride, code, once, threshold);
        for (let p = 0; p < positions; p++) {
          const sizes: number[] = [];
          const wanted = up.map((row, i) => {
            const products = row.map((weight, c) => weight * xs[p * cols + c]!);
            sizes.push(products.reduce((a, b) => a + Math.abs(b), Math.abs(biases[i]!)));
            const sum = products.reduce((a, b) => a + b, biases[i]!);
            // With such a threshold, fatrelu keeps all: where it cuts is tested below.
            return activation === 'fatrelu' ? sum : activations[activation](sum);
          });
          assertClose(
            bench.floats(acts + 4 * p * stride, count),
            wanted,
            (i) => 1e-5 * sizes[i]! + activationError(dtype, up[i]!, xs, cols, 0, p * cols) + 1e-33,
            `${count} x ${cols}, position ${p} of ${positions}`,
          );
        }
        for (let i = 0; i < count; ) {
          const n = Math.min(count - i, 1 + random.below(7));
          const split = 1 + random.below(positions);
          for (const [from, to] of [
            [0, split],
            [split, positions],
          ] as const) {
            if (from === to) continue;
            ffnUp(
              parts + 4 * (from * stride + i),
              x + 4 * from * cols,
              ptrs + 4 * i,
              bias + 4 * i,
              n,
              cols,
              to - from,
              cols,
              stride,
              code,
              isQuantised(dtype) || random.below(2) === 1 ? scratch : 0,
              threshold,
            );
          }
          i += n;
        }
        for (let p = 0; p < positions; p++) {
          assert.deepEqual(
            bitsOf(bench.floats(parts + 4 * p * stride, count)),
            bitsOf(bench.floats(acts + 4 * p * stride, count)),
          );
        }
      }
    }
  });

  test(`gated ffn up ${dtype} (${build}) is the product of two, and the same when split`, () => {
    const random = new Random(16);
    // More positions than are looked at, or quantised, together; and few of many gates that fire.
    for (const [count, cols, positions] of [...shapes, [21, 40, 67], [65, 33, 1]] as const) {
      bench.reset();
      // What is a down column elsewhere serves as the up row.
      const { ptrs, downOffset } = putBundles(bench, dtype, count, cols, random);
      const values = () => Array.from({ length: cols * positions }, () => random.unit());
      const x = bench.putFloats(values());
      const allocate = () => bench.allocate(4 * count * positions);
      const [acts, gates, parts, wanted] = [allocate(), allocate(), allocate(), allocate()];
      const scratch = bench.allocate(scratchBytes(cols));
      const up = bench.putWords([...bench.words(ptrs, count)].map((at) => at + downOffset));
      const biases = (shift = 0) =>
        bench.putFloats(Array.from({ length: count }, () => random.unit() + shift));
      const size = count * positions;
      const { none, relu, relu2, fatrelu, silu } = activationCodes;
      for (const [code, upCode, gateBias, upBias] of [
        [silu, none, 0, 0],
        [fatrelu, none, biases(), 0],
        [relu, relu, biases(), biases()],
        [relu, none, biases(-2), biases()],
        [relu, none, biases(-5), 0],
        [relu2, relu2, biases(-2), 0],
        [fatrelu, fatrelu, biases(-3), biases()],
        [relu, none, biases(-1e9), 0],
        [relu, none, biases(1e9), biases()],
      ] as const) {
        const one = (to: number, rows: number, bias: number, act: ActivationCode) =>
          ffnUp(to, x, rows, bias, count, cols, positions, cols, count, act, scratch, 0.125);
        one(gates, ptrs, gateBias, code);
        one(wanted, up, upBias, upCode);
        bench.kernels.multiply(wanted, gates, size);
        // What a gate keeps shut is 0, not -0.
        const products = bench.floats(wanted, size);
        if (code !== silu) {
          bench.floats(gates, size).forEach((gate, i) => {
            if (gate === 0) products[i] = 0;
          });
        }
        const gated = (to: number, i: number, n: number) =>
          bench.kernels.byDType[dtype].ffnGatedUp(
            to + 4 * i,
            gates + 4 * i,
            x,
            ptrs + 4 * i,
            downOffset,
            gateBias === 0 ? 0 : gateBias + 4 * i,
            upBias === 0 ? 0 : upBias + 4 * i,
            n,
            cols,
            positions,
            cols,
            count,
            code,
            upCode,
            scratch,
            0.125,
          );
        gated(acts, 0, count);
        const split = 1 + random.below(count);
        gated(parts, 0, split);
        if (split < count) gated(parts, split, count - split);
        assert.deepEqual(bitsOf(bench.floats(acts, size)), bitsOf(products));
        assert.deepEqual(bitsOf(bench.floats(parts, size)), bitsOf(products));
      }
    }
  });

  test(`gated ffn up ${dtype} (${build}) does not read up rows of gates that stay shut`, () => {
    const random = new Random(29);
    for (const [positions, open] of [
      [1, [0, 2, 3, 17, 18, 30]],
      [1, []],
      [3, [30]],
      [70, [4, 29]],
    ] as const) {
      bench.reset();
      const [count, cols] = [31, 40];
      const { ptrs, downOffset } = putBundles(bench, dtype, count, cols, random);
      const x = bench.putFloats(Array.from({ length: cols * positions }, () => random.unit()));
      const [acts, gates, wanted] = [0, 0, 0].map(() => bench.allocate(4 * count * positions)) as [
        number,
        number,
        number,
      ];
      const scratch = bench.allocate(scratchBytes(cols));
      const gateBias = bench.putFloats(
        Array.from({ length: count }, (_, i) => (open.some((id) => id === i) ? 1e9 : -1e9)),
      );
      const gated = (to: number) =>
        bench.kernels.byDType[dtype].ffnGatedUp(
          to,
          gates,
          x,
          ptrs,
          downOffset,
          gateBias,
          0,
          count,
          cols,
          positions,
          cols,
          count,
          activationCodes.relu,
          activationCodes.none,
          scratch,
        );
      gated(wanted);
      // NaN in every format: it would be seen in the result.
      bench.words(ptrs, count).forEach((at, i) => {
        if (!open.some((id) => id === i)) bench.bytes(at + downOffset, downOffset).fill(0xff);
      });
      gated(acts);
      const size = count * positions;
      assert.deepEqual(bitsOf(bench.floats(acts, size)), bitsOf(bench.floats(wanted, size)));
      assert.equal(
        bench.floats(acts, size).filter((act) => act !== 0).length,
        open.length * positions,
      );
    }
  });
}

test('activations agree with double precision, in any place of a vector', async () => {
  const bench = await Bench.create(1 << 20, builds.at(-1)!);
  const random = new Random(6);
  const special = [
    fatreluThreshold,
    0,
    -0,
    1e-30,
    -1e-30,
    1e-40,
    20,
    -20,
    100,
    -100,
    1000,
    -1000,
    65504,
    -65504,
  ];
  const values = special.concat(Array.from({ length: 4001 }, () => random.unit() * 12));
  for (const [name, code] of Object.entries(activationCodes) as [KernelActivation, 0][]) {
    bench.reset();
    const x = bench.putFloats(values);
    const single = bench.putFloats(values);
    bench.kernels.activation(x, values.length, code, fatreluThreshold);
    for (let i = 0; i < values.length; i++) {
      bench.kernels.activation(single + 4 * i, 1, code, fatreluThreshold);
    }
    assertClose(
      bench.floats(x, values.length),
      values.map((value) => activations[name](Math.fround(value))),
      (i) => 3e-7 * Math.max(Math.abs(values[i]!), name === 'relu2' ? values[i]! ** 2 : 0) + 1e-37,
      name,
    );
    assert.deepEqual(
      bitsOf(bench.floats(single, values.length)),
      bitsOf(bench.floats(x, values.length)),
    );
  }
});
