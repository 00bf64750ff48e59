/** Ternary weights in the forms that checkpoints have them in, and what is refused of them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SourceDType, SourceTensor, TensorSource } from '../../src/checkpoint/source.ts';
import { withTernary } from '../../src/checkpoint/ternary-source.ts';
import { unitRows } from '../../src/checkpoint/unit-rows.ts';

const name = 'model.layers.0.mlp.up_proj.weight';

function tensorOf(
  dtype: SourceDType,
  shape: readonly number[],
  data: Buffer,
  as = name,
): SourceTensor {
  const size = data.length / shape.reduce((all, n) => all * n, 1);
  return {
    name: as,
    dtype,
    shape,
    file: 'model.safetensors',
    contiguous: true,
    read: async (start, count, target) => {
      target.set(data.subarray(start * size, (start + count) * size));
    },
  };
}

function floats(values: readonly number[], shape: readonly number[], as = name): SourceTensor {
  return tensorOf('f32', shape, Buffer.from(Float32Array.from(values).buffer), as);
}

function sourceOf(...tensors: readonly SourceTensor[]): TensorSource {
  return {
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    bytes: 0,
    close: async () => {},
  };
}

async function valuesOf(tensor: SourceTensor, start = 0, count?: number): Promise<number[]> {
  const all = tensor.shape.reduce((product, n) => product * n, 1);
  const out = Buffer.alloc(4 * (count ?? all - start) + 1).subarray(1); // at an odd address
  await tensor.read(start, count ?? all - start, out);
  return Array.from({ length: out.length / 4 }, (_, i) => out.readFloatLE(4 * i) + 0);
}

const matrix = [
  [1, 0, -1],
  [0, 0, 1],
  [-1, -1, 1],
  [1, 1, 0],
  [0, -1, 0],
  [1, 0, 0],
  [-1, 1, 1],
  [0, 0, -1],
];

test('packed rows lie by quarters, and are multiplied with their scale or divided by it', async () => {
  const packed = Buffer.from(
    [0, 1].flatMap((row) =>
      [0, 1, 2].map((column) =>
        [0, 1, 2, 3].reduce(
          (byte, k) => byte | (((matrix[row + 2 * k]?.[column] ?? 0) + 1) << (2 * k)),
          0,
        ),
      ),
    ),
  );
  const weight = tensorOf('u8', [2, 3], packed);
  for (const divided of [false, true]) {
    const scale = floats([0.25], [1], `${name}_scale`);
    const { tensors } = withTernary(sourceOf(weight, scale), { mode: 'offline', divided });
    assert.deepEqual([...tensors.keys()], [name]);
    const found = tensors.get(name);
    assert.ok(found);
    assert.deepEqual([found.shape, found.exactAs], [[8, 3], 'ternary']);
    const wanted = matrix.flat().map((value) => value * (divided ? 4 : 0.25) + 0);
    assert.deepEqual(await valuesOf(found), wanted);
    for (const [start, count] of [
      [5, 1],
      [4, 15],
      [23, 1],
    ] as const) {
      assert.deepEqual(await valuesOf(found, start, count), wanted.slice(start, start + count));
    }
  }
});

test('floats are divided by the mean of their magnitudes and rounded', async () => {
  const values = [0.9, -0.1, 0.3, -2, 0.05, 0.65];
  const { tensors } = withTernary(sourceOf(floats(values, [2, 3])), {
    mode: 'online',
    divided: false,
  });
  const mean = values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length;
  const found = await valuesOf(tensors.get(name) as SourceTensor);
  for (const [i, wanted] of [1, 0, 0, -1, 0, 1].entries()) {
    assert.ok(Math.abs((found[i] ?? 9) - wanted * mean) < 1e-6, `${found[i]} is not ${wanted}`);
  }
});

test('a value that is not ternary, and a scale for each row, are refused', async () => {
  const config = { mode: 'offline', divided: false } as const;
  const scale = floats([1], [1], `${name}_scale`);
  const damaged = withTernary(
    sourceOf(tensorOf('u8', [1, 2], Buffer.from([0, 0b11])), scale),
    config,
  );
  await assert.rejects(
    valuesOf(damaged.tensors.get(name) as SourceTensor),
    /holds 2 among weights/,
  );
  const scales = floats([1, 1], [2], `${name}_scale`);
  assert.throws(
    () => withTernary(sourceOf(tensorOf('u8', [1, 2], Buffer.from([0, 0])), scales), config),
    /one scale for the whole matrix/,
  );
});

test('what is no matrix of a layer stays as it is', () => {
  const embedding = floats([1, 2], [1, 2], 'model.embed_tokens.weight');
  const source = sourceOf(embedding);
  assert.equal(withTernary(source, null), source);
  const { tensors } = withTernary(source, { mode: 'online', divided: false });
  assert.equal(tensors.get(embedding.name), embedding);
});

test('rows of length 1, whichever range is read', async () => {
  const unit = unitRows(floats([3, 4, 0, 5, 12, 0, 0, 0, 0], [3, 3]));
  const wanted = [0.6, 0.8, 0, 5 / 13, 12 / 13, 0, 0, 0, 0].map(Math.fround);
  assert.deepEqual(await valuesOf(unit), wanted);
  assert.deepEqual(await valuesOf(unit, 2, 3), wanted.slice(2, 5));
  assert.equal(unit.keptAs, 'f32');
});
