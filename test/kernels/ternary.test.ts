/** Rows of ternary weights as they are drawn, and rows that are rounded as such models round them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byteLength } from '../../src/dtype.ts';
import { scratchBytes } from '../../src/kernels/weight-kernels.ts';
import { Bench, bitsOf, builds, Random } from './support.ts';

for (const build of builds) {
  const bench = await Bench.create(8 << 20, build);
  const { byDType, roundRows } = bench.kernels;
  const { toF32, fromF32, firstNonFinite, exactMatmul, matmul } = byDType.ternary;

  test(`ternary rows are what is drawn, and come back unchanged (${build})`, () => {
    const random = new Random(21);
    for (const n of [1, 15, 16, 17, 127, 256, 300, 768]) {
      bench.reset();
      const { address, values } = bench.putWeights('ternary', 1, n, random);
      const dst = bench.allocate(4 * (n + 1));
      toF32(dst, address, n);
      assert.deepEqual(
        [...bench.floats(dst, n)].map((value) => value + 0),
        values.map((value) => value + 0),
      );
      assert.equal(bench.words(dst + 4 * n, 1)[0], 0xffffffff);
      assert.equal(firstNonFinite(address, n), -1);

      const bytes = byteLength('ternary', n);
      const back = bench.allocate(bytes + 1);
      const again = bench.allocate(4 * n);
      fromF32(back, dst, n);
      assert.equal(bench.bytes(back + bytes, 1)[0], 255);
      toF32(again, back, n);
      assert.deepEqual(
        [...bench.floats(again, n)].map((value) => value + 0),
        // What is as small throughout a block is taken for 0.
        values.map((value) => (Math.abs(value) < 2 ** -100 ? 0 : value + 0)),
      );
      // What a last block has too many is 0.
      const whole = bench.allocate(4 * 256);
      toF32(whole, back + bytes - byteLength('ternary', 1), 256);
      assert.ok(bench.floats(whole + 4 * (n % 256 || 256), (256 - n) & 255).every((x) => x === 0));
    }
  });

  test(`a scale that is not finite is found (${build})`, () => {
    bench.reset();
    const { address } = bench.putWeights('ternary', 1, 600, new Random(22));
    const scales = new DataView(bench.memory.buffer);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      scales.setFloat32(address + 2 * 68 + 64, value, true);
      assert.equal(firstNonFinite(address, 600), 512);
      assert.equal(firstNonFinite(address, 512), -1);
    }
  });

  test(`exact products are those of the values in f32, to the bit (${build})`, () => {
    const random = new Random(23);
    for (const [rows, cols, positions] of [
      [5, 40, 1],
      [9, 300, 3],
    ] as const) {
      bench.reset();
      const { address, values } = bench.putWeights('ternary', rows, cols, random);
      const w = bench.putFloats(values);
      const x = bench.putFloats(Array.from({ length: cols * positions }, () => random.value()));
      const [y, wanted] = [
        bench.allocate(4 * rows * positions),
        bench.allocate(4 * rows * positions),
      ];
      const scratch = bench.allocate(scratchBytes(cols));
      exactMatmul(y, x, address, 0, rows, cols, positions, cols, rows, scratch);
      byDType.f32.matmul(wanted, x, w, 0, rows, cols, positions, cols, rows, scratch);
      assert.deepEqual(
        bitsOf(bench.floats(y, rows * positions)),
        bitsOf(bench.floats(wanted, rows * positions)),
      );
    }
  });

  test(`rows are rounded to 127 parts of their largest, and products with them lose nothing (${build})`, () => {
    const random = new Random(24);
    for (const [n, positions] of [
      [1, 2],
      [7, 3],
      [300, 5],
    ] as const) {
      bench.reset();
      const stride = n + 3;
      const values = Array.from({ length: stride * positions }, () => Math.fround(random.unit()));
      const x = bench.putFloats(values);
      roundRows(x, n, positions, stride);
      const rounded = bench.floats(x, stride * positions);
      for (let p = 0; p < positions; p++) {
        const row = values.slice(p * stride, p * stride + n);
        const scale = Math.fround(127 / Math.max(1e-5, ...row.map(Math.abs)));
        for (let i = 0; i < stride; i++) {
          const before = values[p * stride + i]!;
          const after = rounded[p * stride + i]!;
          if (i >= n) assert.equal(after, before);
          else {
            const parts = after * scale;
            assert.ok(Math.abs(parts - Math.round(parts)) < 1e-4, `${parts} is no whole part`);
            assert.ok(Math.abs(after - before) <= 0.5001 / scale);
          }
        }
      }
      const { address, values: weights } = bench.putWeights('ternary', 1, n, random);
      const y = bench.allocate(4 * positions);
      const scratch = bench.allocate(scratchBytes(n));
      matmul(y, x, address, 0, 1, n, positions, stride, 1, scratch);
      for (let p = 0; p < positions; p++) {
        const products = weights.map((weight, i) => weight * rounded[p * stride + i]!);
        const size = products.reduce((sum, product) => sum + Math.abs(product), 0);
        const sum = products.reduce((all, product) => all + product, 0);
        const got = bench.floats(y + 4 * p, 1)[0]!;
        assert.ok(Math.abs(got - sum) <= 1e-6 * size, `${got} is not ${sum}`);
      }
    }
  });
}
