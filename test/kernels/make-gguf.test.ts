/** Encoders of GGUF's block formats: how near they come, and what they must bear. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openWeights } from '../../src/checkpoint/hf-directory.ts';
import { byteLength, type EncodedDType, encodedDTypes, formats } from '../../src/dtype.ts';
import { fixture } from '../support/fixtures.ts';
import { Bench, bitsOf, builds, Random } from './support.ts';

type BlockFormat = keyof typeof referenceError & EncodedDType;

/**
 * Relative errors of llama.cpp's quantisers on the matrix below, by fixtures/gguf/reference_error.py. It
 * rounds blocks of 32 to the largest weight without a search, and counts the weights of Q4_K, Q5_K and
 * Q6_K as it is done here.
 */
const referenceError = {
  q4_0: 0.096547,
  q4_1: 0.08589,
  q5_0: 0.048635,
  q5_1: 0.041635,
  q8_0: 0.006142,
  q4_k: 0.078652,
  q5_k: 0.039902,
  q6_k: 0.020227,
};
/** Where scales are searched for: by how much the error must be smaller. */
const searched = { q4_0: 0.96, q4_1: 0.92, q5_0: 0.96, q5_1: 0.92 } as const;
const blockFormats = encodedDTypes.filter((dtype): dtype is BlockFormat => dtype in referenceError);

async function modelWeights(): Promise<Float32Array> {
  const source = await openWeights(fixture('stories-opt'));
  try {
    const tensor = source.tensors.get('model.decoder.layers.3.fc2.weight');
    assert.deepEqual([tensor?.dtype, tensor?.shape], ['f16', [128, 512]]);
    const halves = new Uint8Array(2 * 128 * 512);
    await tensor?.read(0, 128 * 512, halves);
    bench.reset();
    const [src, dst] = [bench.allocate(halves.length), bench.allocate(2 * halves.length)];
    bench.bytes(src, halves.length).set(halves);
    bench.kernels.byDType.f16.toF32(dst, src, 128 * 512);
    return bench.floats(dst, 128 * 512).slice();
  } finally {
    await source.close();
  }
}

const benches = await Promise.all(builds.map((build) => Bench.create(2 << 20, build)));
const [bench] = benches as [Bench];
const weights = await modelWeights();

/** Values as blocks, and what these are worth. */
function converted(on: Bench, dtype: BlockFormat, values: ArrayLike<number>) {
  on.reset();
  const n = values.length;
  const [src, dst, back] = [4 * n, byteLength(dtype, n) + 16, 4 * n].map((bytes) =>
    on.allocate(bytes),
  ) as [number, number, number];
  on.floats(src, n).set(values);
  const { fromF32, toF32, firstNonFinite } = on.kernels.byDType[dtype];
  fromF32(dst, src, n);
  const guard = on.bytes(dst + byteLength(dtype, n), 16);
  assert.ok(guard.every((byte) => byte === 0xff));
  assert.deepEqual(bitsOf(on.floats(src, n)), bitsOf(Float32Array.from(values)));
  toF32(back, dst, n);
  return {
    blocks: on.bytes(dst, byteLength(dtype, n)).slice(),
    values: on.floats(back, n).slice(),
    bad: firstNonFinite(dst, n),
  };
}

function relativeError(found: Float32Array, wanted: Float32Array): number {
  let [error, all] = [0, 0];
  for (const [i, value] of wanted.entries()) {
    error += ((found[i] as number) - value) ** 2;
    all += value ** 2;
  }
  return Math.sqrt(error / all);
}

for (const dtype of blockFormats) {
  const { blockElements } = formats[dtype];

  test(`${dtype} comes as near to a model's weights as llama.cpp does`, () => {
    const error = relativeError(converted(bench, dtype, weights).values, weights);
    const ratio = error / referenceError[dtype];
    const most = dtype in searched ? searched[dtype as keyof typeof searched] : 1.01;
    assert.ok(ratio <= most, `${error}: ${ratio} of the reference's`);
  });

  test(`${dtype} is the same in every build`, () => {
    const [first, ...others] = benches.map((on) => converted(on, dtype, weights).blocks);
    for (const other of others) assert.deepEqual(other, first);
  });

  test(`${dtype}: of one block, what comes before and behind it says nothing`, () => {
    const row = weights.slice(0, 2 * blockElements);
    const { blocks } = converted(bench, dtype, row);
    const second = converted(bench, dtype, row.slice(blockElements)).blocks;
    assert.deepEqual(blocks.slice(second.length), second);
  });

  test(`${dtype}: zeros stay zeros, what is too small becomes zero`, () => {
    for (const value of [0, -0, 1e-30, -1e-12]) {
      const { values, bad } = converted(bench, dtype, new Float32Array(blockElements).fill(value));
      assert.equal(bad, -1);
      assert.ok(
        values.every((found) => found === 0),
        `${value}`,
      );
    }
    // A run of zeros beside others.
    const some = new Float32Array(blockElements).fill(0.25, blockElements / 2);
    const { values, bad } = converted(bench, dtype, some);
    assert.equal(bad, -1);
    assert.ok(values.subarray(0, blockElements / 2).every((found) => Math.abs(found) < 0.01));
    assert.ok(values.subarray(blockElements / 2).every((found) => Math.abs(found - 0.25) < 0.01));
  });

  test(`${dtype}: values of any kind give finite blocks, or are told`, () => {
    const random = new Random(7);
    for (let round = 0; round < 40; round++) {
      const row = Float32Array.from({ length: blockElements }, () => random.value());
      const { values, bad } = converted(bench, dtype, row);
      assert.equal(bad, -1);
      const top = Math.max(...row.map(Math.abs));
      const step = dtype === 'q8_0' ? top / 200 : dtype === 'q6_k' ? top / 20 : top / 6;
      for (const [i, value] of row.entries()) {
        assert.ok(Math.abs((values[i] as number) - value) <= step, `${value} became ${values[i]}`);
      }
    }
    const huge = new Float32Array(blockElements).fill(1, 1);
    huge[0] = -1e9;
    assert.equal(converted(bench, dtype, huge).bad, 0);
  });
}

for (const [dtype, least, most] of [
  ['q4_0', -8, 7],
  ['q5_0', -16, 15],
  ['q4_1', 0, 15],
  ['q5_1', 0, 31],
] as const) {
  test(`${dtype}: what lies on its own grid is stored exactly`, () => {
    const random = new Random(3);
    for (let round = 0; round < 20; round++) {
      const scale = 2 ** -(random.below(8) + 3);
      const row = Float32Array.from({ length: 32 }, () => least + random.below(most - least + 1));
      row[random.below(16)] = least;
      row[16 + random.below(16)] = most;
      for (const i of row.keys()) row[i] = (row[i] as number) * scale;
      assert.deepEqual(converted(bench, dtype, row).values, row);
    }
  });
}
