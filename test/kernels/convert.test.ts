import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byteLength, floatDTypes, formats } from '../../src/dtype.ts';
import { instantiateKernels } from '../../src/kernels/module.ts';
import { createMemory } from '../../src/pages.ts';
import { assertClose, Bench, fromBFloat, fromHalf, Random, toBFloat, toHalf } from './support.ts';

const bench = await Bench.create(8 << 20);
const { kernels } = bench;

for (const [dtype, decode] of [
  ['f16', fromHalf],
  ['bf16', fromBFloat],
] as const) {
  const { toF32, fromF32, matmul } = kernels.byDType[dtype];

  test(`every ${dtype} becomes the right f32 and comes back unchanged`, () => {
    bench.reset();
    const count = 65536;
    const src = bench.allocate(2 * count);
    const dst = bench.allocate(4 * count);
    const back = bench.allocate(2 * count);
    bench.halves(src, count).forEach((_, i, all) => {
      all[i] = i;
    });
    toF32(dst, src, count);
    fromF32(back, dst, count);
    const values = bench.floats(dst, count);
    const again = bench.halves(back, count);
    for (let bits = 0; bits < count; bits++) {
      const value = decode(bits);
      assert.ok(Object.is(values[bits], value), `${bits}: ${values[bits]}, not ${value}`);
      if (Number.isNaN(value)) assert.ok(Number.isNaN(decode(again[bits]!)));
      else assert.equal(again[bits], bits);
    }
  });

  test(`every finite ${dtype} is what the kernels take it for, in every column`, () => {
    for (const cols of [1, 9]) {
      bench.reset();
      const w = bench.halves(bench.allocate(2 * cols), cols);
      const x = bench.floats(bench.allocate(4 * cols), cols);
      const y = bench.floats(bench.allocate(4), 1);
      for (let bits = 0; bits < 65536; bits++) {
        const value = decode(bits);
        if (!Number.isFinite(value)) continue;
        w.fill(bits);
        x.fill(0)[bits % cols] = 1;
        matmul(y.byteOffset, x.byteOffset, w.byteOffset, 0, 1, cols, 1, cols, 1);
        // The sum starts with 0, and 0 + -0 is 0; what is denormal as f32 is taken for 0.
        assert.equal(y[0], Math.abs(value) < 2 ** -126 ? 0 : value + 0);
      }
    }
  });
}

test('f32 is rounded to the nearest f16 and bf16, ties to even', () => {
  const random = new Random(10);
  const values = [65519, 65520, 65535, 65536, 1e30, 3.4e38, 2 ** -25, 2 ** -24, 2 ** -14, 1e-45];
  for (let i = 0; i < 30000; i++) {
    const half = fromHalf(random.below(0x7bff));
    const ulp = half < 2 ** -14 ? 2 ** -24 : 2 ** (Math.floor(Math.log2(half)) - 10);
    values.push(half + ulp * 0.5, half + ulp * (0.5 + 2 ** -12), half + ulp * random.unit());
    values.push(random.unit() * 2 ** (random.below(276) - 148));
  }
  const all = values
    .flatMap((value) => [value, -value])
    .concat(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN)
    .map(Math.fround);
  for (const [dtype, encode] of [
    ['f16', toHalf],
    ['bf16', toBFloat],
  ] as const) {
    bench.reset();
    const src = bench.putFloats(all);
    const dst = bench.allocate(2 * all.length);
    kernels.byDType[dtype].fromF32(dst, src, all.length);
    const got = bench.halves(dst, all.length);
    all.forEach((value, i) => {
      assert.equal(got[i], encode(value), `${dtype} of ${value}`);
    });
  }
});

test('f32 to f32 is a copy', () => {
  bench.reset();
  const src = bench.putWords([0, 0x7fa00001, 0x80000000, 1, 0x7f800000, 5, 6, 7, 8, 9]);
  const dst = bench.allocate(40);
  kernels.byDType.f32.toF32(dst, src, 10);
  assert.deepEqual([...bench.words(dst, 10)], [...bench.words(src, 10)]);
  kernels.byDType.f32.fromF32(dst, src + 4, 9);
  assert.deepEqual([...bench.words(dst, 9)], [...bench.words(src + 4, 9)]);
});

for (const dtype of floatDTypes) {
  test(`the first value of ${dtype} that is not finite is found`, () => {
    const { firstNonFinite } = kernels.byDType[dtype];
    const bad = { f32: [0x7f800000, 0xffc00001], f16: [0x7c00, 0xfc01], bf16: [0x7f80, 0xff81] };
    const largest = { f32: 0xff7fffff, f16: 0xfbff, bf16: 0xff7f };
    bench.reset();
    const n = 150;
    const address = bench.allocate(byteLength(dtype, n), byteLength(dtype, 1));
    const view = dtype === 'f32' ? bench.words(address, n) : bench.halves(address, n);
    view.fill(largest[dtype]);
    for (let length = 0; length <= n; length++) assert.equal(firstNonFinite(address, length), -1);
    for (const pattern of bad[dtype]) {
      for (let at = n - 1; at >= 0; at--) {
        view[at] = pattern;
        assert.equal(firstNonFinite(address, n), at);
        assert.equal(firstNonFinite(address, at), -1);
      }
      view.fill(largest[dtype]);
    }
  });
}

/** By how much a value may be off as bf16, relatively. */
const bf16Step = 2 ** -9;

for (const dtype of ['q8', 'q4'] as const) {
  const { toF32, fromF32, firstNonFinite } = kernels.byDType[dtype];
  const { blockBytes } = formats[dtype];

  test(`${dtype} rows are read as they are drawn`, () => {
    const random = new Random(12);
    for (const n of [1, 7, 8, 31, 32, 33, 64, 100, 517]) {
      bench.reset();
      const { address, values } = bench.putWeights(dtype, 1, n, random);
      const dst = bench.allocate(4 * (n + 1));
      toF32(dst, address, n);
      assert.deepEqual(
        [...bench.floats(dst, n)].map((value) => value + 0),
        values.map((value) => value + 0),
      );
      assert.equal(bench.words(dst + 4 * n, 1)[0], 0xffffffff);
    }
  });

  test(`f32 becomes ${dtype} within a step of the scale, whatever its size`, () => {
    const random = new Random(13);
    for (const n of [1, 5, 32, 33, 127, 320]) {
      for (const size of [2 ** -98, 1e-20, 1e-3, 1, 1e9, 1e37]) {
        bench.reset();
        const values = Array.from({ length: n }, () => Math.fround(random.unit() * size));
        const src = bench.putFloats(values);
        const bytes = byteLength(dtype, n);
        const dst = bench.allocate(bytes + 2);
        const back = bench.allocate(4 * n);
        fromF32(dst, src, n);
        assert.deepEqual([...bench.bytes(dst + bytes, 2)], [255, 255]);
        toF32(back, dst, n);
        const bounds = values.map((_, i) => {
          const block = values.slice(i - (i % 32), i - (i % 32) + 32);
          const top = Math.max(...block.map(Math.abs));
          // Half a step of top / 127 and what its rounding shifts the largest; a whole step of
          // top / 7 for q4, where what has the other sign than the largest is cut off at 7.
          return dtype === 'q8' ? (top / 127) * (0.5 + 127 * bf16Step) : top / 7;
        });
        assertClose(
          bench.floats(back, n),
          values,
          (i) => bounds[i]! + 2 ** -100,
          `${n} values of ${size}`,
        );
        // The integers that a last block has too many are 0.
        const rest = n % 32;
        if (rest === 0) continue;
        const whole = bench.allocate(4 * 32);
        toF32(whole, dst + bytes - blockBytes, 32);
        assert.ok(bench.floats(whole + 4 * rest, 32 - rest).every((value) => value === 0));
      }
    }
  });

  test(`${dtype} keeps what it can represent, and takes the smallest for 0`, () => {
    bench.reset();
    const levels = dtype === 'q8' ? 127 : 8;
    // A scale that bf16 holds, and all integers up to the largest.
    const values = Array.from({ length: 32 }, (_, i) => 0.375 * ((i % levels) - levels));
    const src = bench.putFloats(values);
    const dst = bench.allocate(blockBytes);
    const back = bench.allocate(4 * 32);
    fromF32(dst, src, 32);
    toF32(back, dst, 32);
    assert.deepEqual([...bench.floats(back, 32)], values);
    bench.floats(src, 32).fill(0);
    fromF32(dst, src, 32);
    assert.deepEqual([...bench.bytes(dst, blockBytes)], new Array(blockBytes).fill(0));
    bench.floats(src, 32).fill(2 ** -127);
    fromF32(dst, src, 32);
    assert.deepEqual([...bench.bytes(dst, blockBytes)], new Array(blockBytes).fill(0));
  });

  test(`the error of ${dtype} on normally distributed weights is what it should be`, () => {
    bench.reset();
    const random = new Random(14);
    const n = 32 * 2000;
    const gaussian = () =>
      Math.sqrt(-2 * Math.log(1 - Math.abs(random.unit()))) * Math.cos(Math.PI * random.unit());
    const values = Array.from({ length: n }, () => Math.fround(0.02 * gaussian()));
    const src = bench.putFloats(values);
    const dst = bench.allocate(byteLength(dtype, n));
    const back = bench.allocate(4 * n);
    fromF32(dst, src, n);
    toF32(back, dst, n);
    const got = bench.floats(back, n);
    const power = (of: (i: number) => number) => values.reduce((sum, _, i) => sum + of(i) ** 2, 0);
    const error = Math.sqrt(power((i) => got[i]! - values[i]!) / power((i) => values[i]!));
    assert.ok(error < (dtype === 'q8' ? 0.0056 : 0.0825), `${error}`);
  });

  test(`the first block of ${dtype} whose scale is not finite is found`, () => {
    bench.reset();
    const [blocks, n] = [5, 140];
    const row = bench.bytes(bench.allocate(blocks * blockBytes, 2), blocks * blockBytes);
    for (const [low, high] of [
      [0x80, 0x7f],
      [0x81, 0xff],
    ] as const) {
      for (let block = blocks - 1; block >= 0; block--) {
        row.fill(0xff);
        for (let b = 0; b < blocks; b++) row[(b + 1) * blockBytes - 1] = 0x7e;
        assert.equal(firstNonFinite(row.byteOffset, n), -1);
        row[(block + 1) * blockBytes - 2] = low;
        row[(block + 1) * blockBytes - 1] = high;
        assert.equal(firstNonFinite(row.byteOffset, n), 32 * block);
      }
    }
  });
}

test('transpositions move every element and touch nothing else', () => {
  const random = new Random(11);
  for (const elementBytes of [2, 4] as const) {
    const transpose = elementBytes === 2 ? kernels.transpose16 : kernels.transpose32;
    for (const [rows, cols] of [
      [1, 1],
      [1, 9],
      [9, 1],
      [3, 5],
      [8, 8],
      [12, 20],
      [33, 41],
      [100, 64],
      [65, 130],
    ] as const) {
      bench.reset();
      const srcStride = (cols + random.below(4)) * elementBytes;
      const dstStride = (rows + random.below(4)) * elementBytes;
      const src = bench.allocate(rows * srcStride);
      const dst = bench.allocate(cols * dstStride);
      const element = (address: number) =>
        elementBytes === 2 ? bench.halves(address, 1) : bench.words(address, 1);
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < cols; c++) {
          element(src + r * srcStride + c * elementBytes)[0] = r * cols + c;
        }
      }
      transpose(dst, src, rows, cols, srcStride, dstStride);
      for (let c = 0; c < cols; c++) {
        for (let r = 0; r < dstStride / elementBytes; r++) {
          const got = element(dst + c * dstStride + r * elementBytes)[0];
          assert.equal(got, r < rows ? r * cols + c : 2 ** (8 * elementBytes) - 1);
        }
      }
    }
  }
});

test('rows are copied between strides', () => {
  bench.reset();
  const src = bench.putWords([1, 2, 3, 4, 5, 6]);
  const dst = bench.putWords([0, 0, 0, 0, 0, 0]);
  kernels.copyRows(dst, src, 2, 8, 12, 8);
  assert.deepEqual([...bench.words(dst, 6)], [1, 2, 4, 5, 0, 0]);
});

test('kernels work up to the last byte of a memory, and above 2 GiB', async () => {
  const size = 2 ** 31 + 65536;
  const memory = createMemory(size);
  const high = await instantiateKernels(memory);
  const address = size - 44;
  const values = new Float32Array(memory.buffer, address, 11).fill(2);
  high.scale(address, 11, 2);
  assert.equal(high.byDType.f32.firstNonFinite(address, 11), -1);
  high.byDType.f32.matmul(1024, address, address, 0, 1, 11, 1, 11, 1);
  assert.equal(new Float32Array(memory.buffer, 1024, 1)[0], 176);
  high.activation(address, 11, 5);
  assert.ok(values.every((value) => value === 16));
});
