/** What the block formats of GGUF files have besides matmul, and what matmul of them must bear. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CheckpointFile } from '../../src/checkpoint/file.ts';
import { readGgufHeader } from '../../src/checkpoint/gguf/header.ts';
import { formats, type GgufDType, ggufDTypes } from '../../src/dtype.ts';
import { scratchBytes } from '../../src/kernels/weight-kernels.ts';
import { ggufFixtures } from '../support/fixtures.ts';
import { halvesAt } from './gguf-blocks.ts';
import { assertClose, Bench, bitsOf, builds, Random } from './support.ts';

/** Rows of a fixture: their format, bytes, and values by the gguf package. */
async function fixtures(file: string) {
  const source = await CheckpointFile.open(join(ggufFixtures, 'quants', `${file}.gguf`));
  const values = readFileSync(join(ggufFixtures, 'quants', `${file}.f32`));
  try {
    const { tensors } = await readGgufHeader(source);
    let at = 0;
    const rows = [];
    for (const { name, elements, offset, bytes } of tensors.values()) {
      const stored = new Uint8Array(bytes);
      await source.read(offset, stored);
      const expected = values.subarray(at, at + 4 * elements);
      rows.push({ name: name.toLowerCase(), elements, stored, expected });
      at += 4 * elements;
    }
    return rows;
  } finally {
    await source.close();
  }
}

const all = [...(await fixtures('quants')), ...(await fixtures('more'))];

for (const build of builds) {
  const bench = await Bench.create(8 << 20, build);

  for (const dtype of ggufDTypes) {
    const { blockElements } = formats[dtype];
    const { matmul, exactMatmul, toF32, firstNonFinite } = bench.kernels.byDType[dtype];

    test(`${dtype} (${build}) becomes what the gguf package makes of it`, () => {
      const found = all.filter(({ name }) => name === dtype);
      assert.equal(found.length, 1);
      for (const { elements, stored, expected } of found) {
        bench.reset();
        const src = bench.allocate(stored.length, 2);
        bench.bytes(src, stored.length).set(stored);
        const dst = bench.allocate(4 * elements + 16);
        toF32(dst, src, elements);
        assert.ok(Buffer.from(bench.bytes(dst, 4 * elements)).equals(expected));
        assert.ok(bench.words(dst + 4 * elements, 4).every((word) => word === 0xffffffff));
        assert.equal(firstNonFinite(src, elements), -1);
      }
    });

    test(`exact matmul ${dtype} (${build}) is that of the values in f32, to the bit`, () => {
      const random = new Random(4);
      for (const [rows, blocks, positions] of [
        [1, 1, 1],
        [4, 2, 1],
        [7, 1, 3],
        [10, 3, 21],
      ] as const) {
        bench.reset();
        const cols = blocks * blockElements;
        const w = bench.putWeights(dtype, rows, cols, random);
        const x = bench.putFloats(Array.from({ length: cols * positions }, () => random.unit()));
        const bias = bench.putFloats(Array.from({ length: rows }, () => random.unit()));
        const scratch = bench.allocate(scratchBytes(cols));
        const [y, wanted] = [0, 0].map(() => bench.allocate(4 * rows * positions)) as [
          number,
          number,
        ];
        exactMatmul(y, x, w.address, bias, rows, cols, positions, cols, rows, scratch);
        const values = bench.putFloats(w.values);
        const f32 = bench.kernels.byDType.f32.matmul;
        f32(wanted, x, values, bias, rows, cols, positions, cols, rows);
        const bits = (at: number) => bitsOf(bench.floats(at, rows * positions));
        assert.deepEqual(bits(y), bits(wanted));
      }
    });

    test(`matmul ${dtype} (${build}) has room for the largest integers`, () => {
      const cols = 2 * blockElements;
      const positions = 4;
      for (const byte of [0x00, 0xff, 0x7f, 0x80, 0x0f, 0xf0]) {
        bench.reset();
        const rows = 4;
        const { address, values } = rowsOf(dtype, rows, cols, byte);
        // All of one sign, alternating in several ways: sums of pairs, of groups and of lanes are largest.
        const xs = Array.from({ length: positions * cols }, (_, i) => {
          const [p, c] = [Math.floor(i / cols), i % cols];
          return [1, -1, c % 2 === 0 ? 1 : -1, c % 4 < 2 ? -1 : 1][p]!;
        });
        const x = bench.putFloats(xs);
        const y = bench.allocate(4 * rows * positions);
        const scratch = bench.allocate(scratchBytes(cols));
        for (const together of [1, positions]) {
          for (let p = 0; p < positions; p += together) {
            const [at, xp] = [y + 4 * p * rows, x + 4 * p * cols];
            matmul(at, xp, address, 0, rows, cols, together, cols, rows, scratch);
          }
          for (let p = 0; p < positions; p++) {
            const sizes: number[] = [];
            const wanted = Array.from({ length: rows }, (_, r) => {
              const products = xs
                .slice(p * cols, (p + 1) * cols)
                .map((value, c) => value * values[r * cols + c]!);
              sizes.push(products.reduce((sum, product) => sum + Math.abs(product), 0));
              return products.reduce((sum, product) => sum + product, 0);
            });
            // The activations are as they are quantised, to the bit.
            assertClose(
              bench.floats(y + 4 * p * rows, rows),
              wanted,
              (r) => 2e-5 * sizes[r]!,
              `bytes ${byte}, position ${p} of ${together}`,
            );
          }
        }
      }
    });

    test(`matmul ${dtype} (${build}) keeps to its scratch`, () => {
      const random = new Random(10);
      for (const [rows, blocks, positions] of [
        [1, 1, 1],
        [9, 1, 40],
        [9, 3, 2],
        [9, 3, 33],
      ] as const) {
        bench.reset();
        const cols = blocks * blockElements;
        const w = bench.putWeights(dtype, rows, cols, random);
        const x = bench.putFloats(Array.from({ length: cols * positions }, () => random.unit()));
        const y = bench.allocate(4 * rows * positions);
        const scratch = bench.allocate(scratchBytes(cols));
        const behind = bench.allocate(4096);
        for (const kernel of [matmul, exactMatmul]) {
          kernel(y, x, w.address, 0, rows, cols, positions, cols, rows, scratch);
          assert.ok(bench.bytes(behind, 4096).every((byte) => byte === 0xff));
        }
      }
    });

    test(`${dtype} (${build}): activations that are NaN make NaN, and weights are searched for it`, () => {
      const random = new Random(9);
      bench.reset();
      const [rows, cols] = [5, 3 * blockElements];
      const w = bench.putWeights(dtype, rows, cols, random);
      const scratch = bench.allocate(scratchBytes(cols));
      const y = bench.allocate(4 * rows * 3);
      const xs = Array.from({ length: 3 * cols }, (_, i) => (i === cols + 7 ? Number.NaN : 1));
      const x = bench.putFloats(xs);
      matmul(y, x, w.address, 0, rows, cols, 3, cols, rows, scratch);
      bench.floats(y, 3 * rows).forEach((value, i) => {
        assert.equal(Number.isNaN(value), Math.floor(i / rows) === 1, `${i}`);
      });
      const { blockBytes } = formats[dtype];
      assert.equal(firstNonFinite(w.address, cols), -1);
      for (const at of dtype === 'mxfp4' ? [0] : halvesAt[dtype]) {
        const block = bench.bytes(w.address + 2 * blockBytes, blockBytes);
        const kept = block.slice();
        if (dtype === 'mxfp4') block[0] = 255;
        else block.set([0, 0x7c], at);
        assert.equal(firstNonFinite(w.address, cols), 2 * blockElements, `${at}`);
        block.set(kept);
      }
    });
  }

  function rowsOf(dtype: GgufDType, rows: number, cols: number, byte: number) {
    const w = bench.putWeights(dtype, rows, cols, new Random(1));
    const { blockBytes } = formats[dtype];
    const bytes = bench.bytes(w.address, rows * formats[dtype].rowBytes(cols));
    for (let at = 0; at < bytes.length; at += blockBytes) {
      const block = bytes.subarray(at, at + blockBytes).fill(byte);
      for (const half of halvesAt[dtype]) block.set([0, 0x3c], half);
      if (dtype === 'mxfp4') block[0] = 128;
    }
    const floats = bench.allocate(4 * rows * cols);
    for (let r = 0; r < rows; r++) {
      const row = w.address + r * formats[dtype].rowBytes(cols);
      bench.kernels.byDType[dtype].toF32(floats + 4 * r * cols, row, cols);
    }
    return { address: w.address, values: [...bench.floats(floats, rows * cols)] };
  }
}
