import assert from 'node:assert/strict';
import { test } from 'node:test';
import { activationCodes } from '../../src/kernels/constants.ts';
import { type NeuronKernels, neuronGroup, scratchBytes } from '../../src/kernels/weight-kernels.ts';
import { Bench, bitsOf, builds, fromHalf, Random, toHalf } from './support.ts';

/** rows, cols, positions */
const shapes = [
  [1, 1, 1],
  [1, 7, 2],
  [3, 8, 1],
  [4, 9, 4],
  [7, 31, 1],
  [13, 67, 8],
  [33, 129, 3],
  [64, 512, 1],
  [9, 1000, 64],
] as const;

/** Random finite f16 below 64, every other one as small as they come. */
function half(random: Random): number {
  const exponent = random.below(2) === 0 ? random.below(3) : random.below(21);
  return (random.below(2) << 15) | (exponent << 10) | random.below(1024);
}

for (const build of builds) {
  const bench = await Bench.create(8 << 20, build);
  const { byDType, packedF16 } = bench.kernels;

  test(`packed f16 (${build}) multiplies as f16 does, to the bit, with and without scratch`, () => {
    const random = new Random(1);
    for (const [rows, cols, positions] of shapes) {
      for (const withScratch of [false, true]) {
        bench.reset();
        const w = bench.allocate(2 * rows * cols, 2);
        bench.halves(w, rows * cols).forEach((_, i, all) => {
          all[i] = half(random);
        });
        const inputs = Array.from({ length: cols * positions }, () => 100 * random.unit());
        const x = bench.putFloats(inputs);
        const bias = bench.putFloats(Array.from({ length: rows }, () => random.unit()));
        const scratch = withScratch ? bench.allocate(scratchBytes(cols)) : 0;
        const results = [byDType.f16.matmul, packedF16.matmul].map((matmul, i) => {
          if (i === 1) {
            assert.equal(packedF16.packable(w, rows * cols), 1);
            packedF16.pack(w, rows, 2 * cols, 1, cols);
          }
          const y = bench.allocate(4 * rows * positions);
          matmul(y, x, w, bias, rows, cols, positions, cols, rows, scratch);
          return bitsOf(bench.floats(y, rows * positions));
        });
        assert.deepEqual(results[1], results[0], `${rows} x ${cols}, ${positions} positions`);
      }
    }
  });

  test(`FFNs over packed f16 (${build}) are the same to the bit, padded bundles or not`, () => {
    const random = new Random(3);
    for (const [neurons, cols, positions] of shapes) {
      bench.reset();
      // Gate, up and down rows, and what fills a bundle.
      const bundleBytes = 2 * (3 * cols + random.below(9));
      const [up, down] = [2 * cols, 4 * cols];
      const w = bench.allocate(neurons * bundleBytes, 2);
      bench.halves(w, (neurons * bundleBytes) / 2).forEach((_, i, all) => {
        all[i] = half(random);
      });
      const floats = (n: number) =>
        bench.putFloats(Array.from({ length: n }, () => random.unit() * random.below(2)));
      const x = floats(cols * positions);
      const acts = floats(neurons * positions);
      const ptrs = bench.putWords(Array.from({ length: neurons }, (_, i) => w + i * bundleBytes));
      const bounds = bench.putWords([Math.ceil(neurons / 3), neurons]);
      const scratch = bench.allocate(scratchBytes(cols));
      const width = Math.max(cols, neurons);
      const places = Array.from({ length: 3 }, () => bench.allocate(4 * width * (positions + 2)));
      const [out, second, sums] = places as [number, number, number];
      /** What every kernel makes of the same input. */
      const all = (kernels: NeuronKernels) => {
        const results: number[][] = [];
        const run = (kernel: () => void) => {
          for (const place of places) bench.floats(place, width * (positions + 2)).fill(0);
          kernel();
          for (const place of places) {
            results.push(bitsOf(bench.floats(place, width * (positions + 2))));
          }
        };
        const { silu, relu } = activationCodes;
        const p = positions;
        run(() =>
          kernels.ffnUp(out, x, ptrs, acts, neurons, cols, p, cols, neurons, relu, scratch),
        );
        run(() =>
          kernels.ffnGatedUp(
            out,
            second,
            x,
            ptrs,
            up,
            0,
            acts,
            neurons,
            cols,
            p,
            cols,
            neurons,
            silu,
            relu,
          ),
        );
        const groups = Math.ceil(neurons / neuronGroup);
        run(() => kernels.ffnSums(sums, acts, ptrs, down, 0, neurons, cols, 1, neurons, 0, groups));
        run(() =>
          kernels.ffnDown(
            out,
            sums,
            acts,
            ptrs,
            down,
            0,
            neurons,
            0,
            cols,
            p,
            cols,
            neurons,
            scratch,
          ),
        );
        run(() => kernels.ffnListSums(sums, acts, ptrs, down, bounds, 2, neurons, cols, 0, 0, 2));
        run(() =>
          kernels.ffnListDown(
            out,
            sums,
            acts,
            ptrs,
            down,
            bounds,
            2,
            neurons,
            0,
            cols,
            p,
            cols,
            neurons,
          ),
        );
        return results;
      };
      const plain = all(byDType.f16);
      assert.equal(packedF16.packable(w, (neurons * bundleBytes) / 2), 1);
      packedF16.pack(w, neurons, bundleBytes, 3, cols);
      assert.deepEqual(all(packedF16), plain, `${neurons} neurons of ${cols}, ${positions}`);
    }
  });

  test(`packed f16 (${build}): every number below 64 comes back, from any place in a row`, () => {
    bench.reset();
    const all = Array.from({ length: 1 << 16 }, (_, bits) => bits).filter(
      (bits) => Math.abs(fromHalf(bits)) < 64,
    );
    // In two orders, so that ordinary and denormal numbers meet in a block.
    const mixed = [...all, ...all.map((_, i) => all[(i * 7919) % all.length] ?? 0)];
    for (const cols of [8, 13, 64]) {
      const rows = Math.floor(mixed.length / cols);
      const w = bench.allocate(2 * rows * cols, 2);
      bench.halves(w, rows * cols).set(mixed.slice(0, rows * cols));
      assert.equal(packedF16.packable(w, rows * cols), 1);
      packedF16.pack(w, rows, 2 * cols, 1, cols);
      const out = bench.allocate(4 * rows * cols);
      for (let r = 0; r < rows; r++) packedF16.toF32(out + 4 * r * cols, w + 2 * r * cols, cols);
      const wanted = mixed.slice(0, rows * cols).map(fromHalf);
      assert.deepEqual(
        bitsOf(bench.floats(out, rows * cols)),
        bitsOf(Float32Array.from(wanted)),
        `${cols} columns`,
      );
    }
  });

  test(`packed f16 (${build}): what has no room is found, wherever it is`, () => {
    bench.reset();
    for (const n of [1, 7, 8, 19, 64]) {
      const w = bench.allocate(2 * n, 2);
      const values = bench.halves(w, n).fill(toHalf(63.96875));
      assert.equal(packedF16.packable(w, n), 1);
      for (let i = 0; i < n; i++) {
        for (const large of [64, -64, 65504, Number.NEGATIVE_INFINITY, Number.NaN]) {
          values[i] = toHalf(large);
          assert.equal(packedF16.packable(w, n), 0, `${large} at ${i} of ${n}`);
        }
        values[i] = toHalf(-63.96875);
      }
    }
  });
}
