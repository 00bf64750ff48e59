/** Rows of GGUF's block formats packed by fours: the same results, and the same rows again. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formats, ggufDTypes, inFours } from '../../src/dtype.ts';
import {
  quantisedBytes,
  quantisedStride,
  quantiseOf,
  scratchBytes,
} from '../../src/kernels/weight-kernels.ts';
import { Bench, bitsOf, builds, Random } from './support.ts';

/** Rows, blocks of a row, positions: few and many of each, streams that are full and that are not. */
const shapes = [
  [4, 1, 1],
  [12, 2, 2],
  [20, 1, 3],
  [36, 2, 1],
  [40, 1, 34],
] as const;

for (const build of builds) {
  const bench = await Bench.create(8 << 20, build);
  for (const dtype of ggufDTypes) {
    const { packedAs, blockElements, rowBytes } = formats[dtype];
    if (packedAs === null) continue;
    const format = formats[packedAs];
    assert.ok(inFours(format));
    const packed = bench.kernels.fours[format.name];
    const { quantise } = packed;
    const ofStored = quantiseOf(bench.kernels, formats[dtype], false);
    assert.ok(ofStored);

    test(`${dtype} (${build}): packed rows give the same bits, and are the same rows again`, () => {
      const random = new Random(7);
      for (const [rows, blocks, positions] of shapes) {
        bench.reset();
        const cols = blocks * blockElements;
        const { address: w } = bench.putWeights(dtype, rows, cols, random);
        const stored = bench.bytes(w, rows * rowBytes(cols));
        const before = Uint8Array.from(stored);
        const x = bench.putFloats(Array.from({ length: cols * positions }, () => random.unit()));
        const bias = bench.putFloats(Array.from({ length: rows }, () => random.unit()));
        const scratch = bench.allocate(scratchBytes(cols));
        const y = bench.allocate(4 * rows * positions);
        const bits = () => bitsOf(bench.floats(y, rows * positions));
        const shape = [bias, rows, cols, positions, cols, rows, scratch] as const;
        bench.kernels.byDType[dtype].matmul(y, x, w, ...shape);
        const wanted = bits();
        const clear = () => bench.floats(y, rows * positions).fill(Number.NaN);
        clear();
        const q = bench.allocate(quantisedBytes(cols, positions));
        ofStored(q, x, cols, positions, cols);
        bench.kernels.byDType[dtype].matmul(y, q, w, ...shape, 1);
        assert.deepEqual(bits(), wanted, `${positions} positions quantised before`);
        clear();

        packed.packRows(w, rows, cols, scratch);
        packed.matmul(y, x, w, ...shape);
        assert.deepEqual(bits(), wanted, `${rows} rows of ${cols}, ${positions} positions`);
        clear();
        bench.bytes(q, quantisedBytes(cols, positions)).fill(0xff);
        quantise(q, x, cols, positions, cols);
        packed.matmul(y, q, w, ...shape, 1);
        assert.deepEqual(bits(), wanted, `${positions} positions quantised before, packed`);
        assert.notDeepEqual(stored, before);

        const row = bench.allocate(rowBytes(cols));
        for (let r = 0; r < rows; r++) {
          const four = w + (r - (r % 4)) * rowBytes(cols);
          packed.unpackRow(row, four, r % 4, cols);
          const own = before.subarray(r * rowBytes(cols), (r + 1) * rowBytes(cols));
          assert.ok(Buffer.from(bench.bytes(row, own.length)).equals(own), `row ${r}`);
        }
      }
    });

    test(`${dtype} (${build}): packed rows give 1 to 20 positions what stored rows give each alone`, () => {
      const random = new Random(13);
      const most = 20;
      for (const [rows, blocks] of [
        [4, 1],
        [44, 2],
      ] as const) {
        bench.reset();
        const cols = blocks * blockElements;
        const { address: w } = bench.putWeights(dtype, rows, cols, random);
        const x = bench.putFloats(Array.from({ length: cols * most }, () => random.unit()));
        const scratch = bench.allocate(scratchBytes(cols));
        const behind = bench.allocate(4096);
        const q = bench.allocate(quantisedBytes(cols, most));
        const [alone, y] = [0, 0].map(() => bench.allocate(4 * rows * most)) as [number, number];
        const stored = bench.kernels.byDType[dtype].matmul;
        for (let p = 0; p < most; p++) {
          stored(alone + 4 * p * rows, x + 4 * p * cols, w, 0, rows, cols, 1, cols, rows, scratch);
        }
        packed.packRows(w, rows, cols, scratch);
        for (let positions = 1; positions <= most; positions++) {
          const wanted = bitsOf(bench.floats(alone, rows * positions));
          quantise(q, x, cols, positions, cols);
          for (const quantised of [0, 1] as const) {
            const found = bench.floats(y, rows * most).fill(Number.NaN);
            const input = quantised === 1 ? q : x;
            const shape = [0, rows, cols, positions, cols, rows, scratch, quantised] as const;
            packed.matmul(y, input, w, ...shape);
            const label = `${rows} rows of ${cols}, ${positions} positions, quantised ${quantised}`;
            assert.deepEqual(bitsOf(found.subarray(0, rows * positions)), wanted, label);
            assert.ok(found.subarray(rows * positions).every(Number.isNaN), label);
          }
        }
        assert.ok(bench.bytes(behind, 4096).every((byte) => byte === 0xff));
      }
    });

    test(`${dtype} (${build}): tiles give what each of them gives, added in turn`, () => {
      const random = new Random(11);
      for (const [tiles, perTile, blocks, positions] of [
        [3, 8, 1, 1],
        [2, 12, 2, 3],
      ] as const) {
        bench.reset();
        const cols = blocks * blockElements;
        const bytes = rowBytes(cols);
        const tileBytes = perTile * bytes + 64;
        const w = bench.allocate(tiles * tileBytes);
        for (let t = 0; t < tiles; t++) {
          const { address } = bench.putWeights(dtype, perTile, cols, random);
          bench
            .bytes(w + t * tileBytes, perTile * bytes)
            .set(bench.bytes(address, perTile * bytes));
        }
        const scratch = bench.allocate(scratchBytes(cols));
        const wide = tiles * cols;
        const values = (n: number) => Array.from({ length: n }, () => random.unit());
        const x = bench.putFloats(values(wide * positions));
        const all = tiles * perTile;
        const y = bench.putFloats(values(all * positions));
        const start = bench.putFloats(values(perTile * positions));
        const added = bench.putFloats([...bench.floats(start, perTile * positions)]);
        const sums = bench.allocate(4 * perTile * positions);
        const each = bench.allocate(4 * all * positions);
        const { matmul } = bench.kernels.byDType[dtype];
        for (let t = 0; t < tiles; t++) {
          const own = w + t * tileBytes;
          const place = each + 4 * t * perTile;
          matmul(place, x, own, 0, perTile, cols, positions, wide, all, scratch);
          matmul(sums, x + 4 * t * cols, own, 0, perTile, cols, positions, wide, perTile, scratch);
          bench.kernels.add(start, sums, perTile * positions);
        }
        const q = bench.allocate(quantisedBytes(wide, positions));
        // One tile's columns, and those of the others: where each belongs among all.
        const [first, others] = [cols, wide - cols];
        quantise(q, x, first, positions, wide);
        const at = first * quantisedStride(positions);
        quantise(q + at, x + 4 * first, others, positions, wide);
        for (const [kernels, quantised] of [
          [bench.kernels.byDType[dtype], 0],
          [bench.kernels.byDType[dtype], 1],
          [packed, 0],
          [packed, 1],
        ] as const) {
          const input = quantised === 1 ? q : x;
          if (kernels === packed && quantised === 0) {
            for (let t = 0; t < tiles; t++) {
              packed.packRows(w + t * tileBytes, perTile, cols, scratch);
            }
          }
          bench.floats(y, all * positions).fill(Number.NaN);
          const { tileRows, tileSums } = kernels;
          const cut = perTile + 4;
          for (const [from, to] of [
            [0, cut],
            [cut, all],
          ] as const) {
            const range = [perTile, bytes, from, to] as const;
            tileRows(
              y,
              input,
              w,
              tileBytes,
              ...range,
              cols,
              positions,
              wide,
              all,
              scratch,
              quantised,
            );
          }
          assert.deepEqual(
            bitsOf(bench.floats(y, all * positions)),
            bitsOf(bench.floats(each, all * positions)),
          );
          const out = bench.putFloats([...bench.floats(added, perTile * positions)]);
          for (const [from, to] of [
            [0, 4],
            [4, perTile],
          ] as const) {
            const range = [tiles, bytes, from, to] as const;
            const strides = [wide, perTile, scratch, quantised] as const;
            tileSums(out, sums, input, w, tileBytes, ...range, cols, positions, ...strides);
          }
          assert.deepEqual(
            bitsOf(bench.floats(out, perTile * positions)),
            bitsOf(bench.floats(start, perTile * positions)),
          );
        }
      }
    });
  }
}
