import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byteLength, type DType, dtypeNames, isQuantised } from '../../src/dtype.ts';
import { type Activation, activationCodes, scratchBytes } from '../../src/kernels/kernels.ts';
import { activations } from './reference.ts';
import {
  activationError,
  alignmentOf,
  assertClose,
  Bench,
  bitsOf,
  builds,
  Random,
} from './support.ts';

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

interface Bundles {
  readonly ptrs: number;
  readonly downOffset: number;
  readonly up: number[][];
  readonly down: number[][];
}

/** Bundles at shuffled places. */
function putBundles(
  bench: Bench,
  dtype: DType,
  count: number,
  cols: number,
  random: Random,
): Bundles {
  const downOffset = byteLength(dtype, cols);
  const bundleBytes = 2 * downOffset + alignmentOf(dtype) * random.below(9);
  const base = bench.allocate(count * bundleBytes, alignmentOf(dtype));
  const slots = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [slots[i], slots[j]] = [slots[j]!, slots[i]!];
  }
  const addresses = slots.map((slot) => base + slot * bundleBytes);
  return {
    ptrs: bench.putWords(addresses),
    downOffset,
    up: addresses.map((address) => bench.fillWeights(dtype, address, cols, random)),
    down: addresses.map((at) => bench.fillWeights(dtype, at + downOffset, cols, random)),
  };
}

const kinds = builds.flatMap((build) => dtypeNames.map((dtype) => [build, dtype] as const));

for (const [build, dtype] of kinds) {
  const bench = await Bench.create(8 << 20, build);
  const { ffnUp, ffnDown } = bench.kernels.byDType[dtype];

  test(`ffn up ${dtype} (${build}) agrees with double precision, and with itself when split`, () => {
    const random = new Random(3);
    for (const [count, cols, positions] of shapes) {
      for (const activation of ['none', 'relu'] as const) {
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
        ffnUp(acts, x, ptrs, bias, count, cols, positions, cols, stride, code, once);
        for (let p = 0; p < positions; p++) {
          const sizes: number[] = [];
          const wanted = up.map((row, i) => {
            const products = row.map((weight, c) => weight * xs[p * cols + c]!);
            sizes.push(products.reduce((a, b) => a + Math.abs(b), Math.abs(biases[i]!)));
            return activations[activation](products.reduce((a, b) => a + b, biases[i]!));
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
    for (const [count, cols, positions] of shapes) {
      bench.reset();
      // What is a down column elsewhere serves as the up row.
      const { ptrs, downOffset } = putBundles(bench, dtype, count, cols, random);
      const x = bench.putFloats(
        Array.from({ length: cols * positions }, () => Math.fround(random.unit())),
      );
      const allocate = () => bench.allocate(4 * count * positions);
      const [acts, gates, parts, wanted] = [allocate(), allocate(), allocate(), allocate()];
      const scratch = bench.allocate(scratchBytes(cols));
      const up = bench.putWords([...bench.words(ptrs, count)].map((at) => at + downOffset));
      const { none, silu } = activationCodes;
      const size = count * positions;
      ffnUp(gates, x, ptrs, 0, count, cols, positions, cols, count, silu, scratch);
      ffnUp(wanted, x, up, 0, count, cols, positions, cols, count, none, scratch);
      bench.kernels.multiply(wanted, gates, size);
      const gated = (to: number, i: number, n: number) =>
        bench.kernels.byDType[dtype].ffnGatedUp(
          to + 4 * i,
          gates + 4 * i,
          x,
          ptrs + 4 * i,
          downOffset,
          n,
          cols,
          positions,
          cols,
          count,
          silu,
          scratch,
        );
      gated(acts, 0, count);
      const split = 1 + random.below(count);
      gated(parts, 0, split);
      if (split < count) gated(parts, split, count - split);
      assert.deepEqual(bitsOf(bench.floats(acts, size)), bitsOf(bench.floats(wanted, size)));
      assert.deepEqual(bitsOf(bench.floats(parts, size)), bitsOf(bench.floats(wanted, size)));
    }
  });

  test(`ffn down ${dtype} (${build}) agrees with double precision, and with itself when split`, () => {
    const random = new Random(4);
    for (const [count, cols, positions] of shapes) {
      for (const density of [0, 0.03, 0.5, 1]) {
        bench.reset();
        const { ptrs, down, downOffset } = putBundles(bench, dtype, count, cols, random);
        const stride = count + 1;
        const actValues = Array.from({ length: stride * positions }, () =>
          random.below(1000) < 1000 * density ? Math.fround(random.unit()) : 0,
        );
        const acts = bench.putFloats(actValues);
        const start = Array.from({ length: cols * positions }, () => Math.fround(random.unit()));
        const scratch = bench.allocate(scratchBytes(cols));
        const y = bench.putFloats(start);
        const parts = bench.putFloats(start);
        ffnDown(y, acts, ptrs, downOffset, count, 0, cols, positions, cols, stride);
        for (let p = 0; p < positions; p++) {
          const sizes: number[] = [];
          const wanted = Array.from({ length: cols }, (_, c) => {
            const products = down.map((row, i) => row[c]! * actValues[p * stride + i]!);
            sizes.push(products.reduce((a, b) => a + Math.abs(b), Math.abs(start[p * cols + c]!)));
            return products.reduce((a, b) => a + b, start[p * cols + c]!);
          });
          assertClose(
            bench.floats(y + 4 * p * cols, cols),
            wanted,
            (c) => 1e-5 * sizes[c]! + 1e-33,
            `${count} x ${cols}, density ${density}, position ${p} of ${positions}`,
          );
        }
        // By columns, as threads split it, and by pieces of the list, as they come from flash.
        for (let c = 0; c < cols; ) {
          const width = Math.min(cols - c, 1 + random.below(30));
          for (let i = 0; i < count; ) {
            const n = Math.min(count - i, 1 + random.below(11));
            const split = 1 + random.below(positions);
            for (const [from, to] of [
              [0, split],
              [split, positions],
            ] as const) {
              if (from === to) continue;
              ffnDown(
                parts + 4 * from * cols,
                acts + 4 * (from * stride + i),
                ptrs + 4 * i,
                downOffset,
                n,
                c,
                c + width,
                to - from,
                cols,
                stride,
                random.below(2) * scratch,
              );
            }
            i += n;
          }
          c += width;
        }
        assert.deepEqual(
          bitsOf(bench.floats(parts, cols * positions)),
          bitsOf(bench.floats(y, cols * positions)),
        );
      }
    }
  });

  test(`ffn down ${dtype} (${build}) does not read the columns of neurons that are not active`, () => {
    const random = new Random(5);
    for (const [positions, withScratch] of [
      [1, 0],
      [2, 0],
      [4, 1],
      [7, 1],
    ] as const) {
      bench.reset();
      const [count, cols] = [24, 20];
      const { ptrs, downOffset } = putBundles(bench, dtype, count, cols, random);
      const acts = bench.putFloats(
        Array.from({ length: count * positions }, (_, i) => (i % count === 13 ? 1 : 0)),
      );
      // A read of any other column would spoil y with NaNs: 0 times NaN is NaN.
      const addresses = bench.words(ptrs, count);
      addresses.forEach((address, i) => {
        if (i !== 13) {
          bench.bytes(address + downOffset, byteLength(dtype, cols)).fill(0xff);
        }
      });
      const y = bench.putFloats(Array.from({ length: cols * positions }, () => 0));
      const scratch = withScratch * bench.allocate(scratchBytes(cols));
      ffnDown(y, acts, ptrs, downOffset, count, 0, cols, positions, cols, count, scratch);
      assert.ok(bench.floats(y, cols * positions).every((value) => Number.isFinite(value)));
    }
  });
}

test('activations agree with double precision, in any place of a vector', async () => {
  const bench = await Bench.create(1 << 20, builds.at(-1)!);
  const random = new Random(6);
  const special = [0, -0, 1e-30, -1e-30, 1e-40, 20, -20, 100, -100, 1000, -1000, 65504, -65504];
  const values = special.concat(Array.from({ length: 4001 }, () => random.unit() * 12));
  for (const [name, code] of Object.entries(activationCodes) as [Activation, 0][]) {
    bench.reset();
    const x = bench.putFloats(values);
    const single = bench.putFloats(values);
    bench.kernels.activation(x, values.length, code);
    for (let i = 0; i < values.length; i++) bench.kernels.activation(single + 4 * i, 1, code);
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
