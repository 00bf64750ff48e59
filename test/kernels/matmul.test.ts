import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byteLength, type DType, dtypeNames, formats, isQuantised } from '../../src/dtype.ts';
import { scratchBytes } from '../../src/kernels/weight-kernels.ts';
import { activationError, assertClose, Bench, bitsOf, builds, Random } from './support.ts';

/** rows, cols, positions */
const shapes = [
  [1, 1, 1],
  [1, 7, 2],
  [2, 3, 3],
  [3, 8, 1],
  [4, 9, 4],
  [5, 15, 5],
  [6, 16, 7],
  [7, 31, 1],
  [13, 67, 8],
  [33, 129, 11],
  [64, 512, 1],
  [9, 1000, 64],
  [3, 96, 33],
] as const;

/** The shapes as a format takes them: rows of GGUF's formats are whole blocks. */
function shapesOf(dtype: DType): readonly (readonly [number, number, number])[] {
  const { neurons, blockElements } = formats[dtype];
  if (neurons) return shapes;
  return shapes.map(([rows, cols, positions]) => [
    rows,
    Math.ceil(cols / blockElements) * blockElements,
    positions,
  ]);
}

const kinds = builds.flatMap((build) => dtypeNames.map((dtype) => [build, dtype] as const));

for (const [build, dtype] of kinds) {
  const bench = await Bench.create(8 << 20, build);
  const { matmul } = bench.kernels.byDType[dtype];
  /** Whether a call passes scratch; where it must, it does. */
  const withScratch = (random: Random) => isQuantised(dtype) || random.below(2) === 1;

  test(`matmul ${dtype} (${build}) agrees with double precision`, () => {
    const random = new Random(1);
    for (const [rows, cols, positions] of shapesOf(dtype)) {
      for (const withBias of [false, true]) {
        bench.reset();
        const xStride = cols + random.below(3);
        const yStride = rows + random.below(3);
        const w = bench.putWeights(dtype, rows, cols, random);
        const xs = Array.from({ length: xStride * positions }, () => Math.fround(random.value()));
        const biases = Array.from({ length: rows }, () => Math.fround(random.unit()));
        const x = bench.putFloats(xs);
        const bias = withBias ? bench.putFloats(biases) : 0;
        const y = bench.allocate(4 * yStride * positions);
        const scratch = isQuantised(dtype) ? bench.allocate(scratchBytes(cols)) : 0;
        matmul(y, x, w.address, bias, rows, cols, positions, xStride, yStride, scratch);
        for (let p = 0; p < positions; p++) {
          const wanted: number[] = [];
          const sizes: number[] = [];
          for (let r = 0; r < rows; r++) {
            let sum = withBias ? biases[r]! : 0;
            let size = Math.abs(sum);
            for (let c = 0; c < cols; c++) {
              const product = w.values[r * cols + c]! * xs[p * xStride + c]!;
              sum += product;
              size += Math.abs(product);
            }
            wanted.push(sum);
            sizes.push(size);
          }
          assertClose(
            bench.floats(y + 4 * p * yStride, rows),
            wanted,
            (r) =>
              1e-5 * sizes[r]! +
              activationError(dtype, w.values, xs, cols, r * cols, p * xStride) +
              1e-33,
            `${rows} x ${cols}, position ${p} of ${positions}`,
          );
          // Nothing is written between the rows of y.
          if (p < positions - 1) {
            const gap = bench.words(y + 4 * (p * yStride + rows), yStride - rows);
            assert.ok(gap.every((word) => word === 0xffffffff));
          }
        }
      }
    }
  });

  test(`matmul ${dtype} (${build}) gives the same bits however rows and positions are split, with and without scratch`, () => {
    const random = new Random(2);
    for (const [rows, cols, positions] of shapesOf(dtype)) {
      bench.reset();
      const w = bench.putWeights(dtype, rows, cols, random);
      const x = bench.putFloats(
        Array.from({ length: cols * positions }, () => Math.fround(random.value())),
      );
      const bias = bench.putFloats(Array.from({ length: rows }, () => Math.fround(random.unit())));
      const whole = bench.allocate(4 * rows * positions);
      const parts = bench.allocate(4 * rows * positions);
      const scratch = bench.allocate(scratchBytes(cols));
      const once = isQuantised(dtype) ? scratch : 0;
      matmul(whole, x, w.address, bias, rows, cols, positions, cols, rows, once);
      for (let r = 0; r < rows; ) {
        const rowCount = Math.min(rows - r, 1 + random.below(9));
        for (let p = 0; p < positions; ) {
          const positionCount = Math.min(positions - p, 1 + random.below(9));
          matmul(
            parts + 4 * (p * rows + r),
            x + 4 * p * cols,
            w.address + r * byteLength(dtype, cols),
            bias + 4 * r,
            rowCount,
            cols,
            positionCount,
            cols,
            rows,
            withScratch(random) ? scratch : 0,
          );
          p += positionCount;
        }
        r += rowCount;
      }
      assert.deepEqual(
        bitsOf(bench.floats(parts, rows * positions)),
        bitsOf(bench.floats(whole, rows * positions)),
      );
    }
  });

  test(`matmul ${dtype} (${build}) gives each of 1 to 20 positions the bits that it has alone`, () => {
    const random = new Random(3);
    const { neurons, blockElements } = formats[dtype];
    const most = 20;
    for (const [rows, blocks] of [
      [1, 1],
      [13, 3],
    ] as const) {
      bench.reset();
      const cols = neurons ? 32 * blocks + 5 : blockElements * blocks;
      const { address: w } = bench.putWeights(dtype, rows, cols, random);
      const x = bench.putFloats(
        Array.from({ length: cols * most }, () => Math.fround(random.value())),
      );
      const scratch = bench.allocate(scratchBytes(cols));
      const [alone, together] = [0, 0].map(() => bench.allocate(4 * rows * most)) as [
        number,
        number,
      ];
      for (let p = 0; p < most; p++) {
        matmul(alone + 4 * p * rows, x + 4 * p * cols, w, 0, rows, cols, 1, cols, rows, scratch);
      }
      for (let positions = 1; positions <= most; positions++) {
        const y = bench.floats(together, rows * most).fill(Number.NaN);
        matmul(together, x, w, 0, rows, cols, positions, cols, rows, scratch);
        assert.deepEqual(
          bitsOf(y.subarray(0, rows * positions)),
          bitsOf(bench.floats(alone, rows * positions)),
          `${rows} rows of ${cols}, ${positions} positions`,
        );
        assert.ok(y.subarray(rows * positions).every(Number.isNaN));
      }
    }
  });
}
