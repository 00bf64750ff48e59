/** Matrices that lie, alone and in stacks, read by ranges. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reorderedRows } from '../../src/checkpoint/derived-tensor.ts';
import type { SourceTensor } from '../../src/checkpoint/source.ts';
import { transposedMatrix } from '../../src/checkpoint/transposed-tensor.ts';

/** A tensor whose values are their own places. */
function places(...shape: readonly number[]): SourceTensor {
  const count = shape.reduce((product, size) => product * size, 1);
  const bytes = Buffer.from(Float32Array.from({ length: count }, (_, i) => i).buffer);
  return {
    ...{ name: 'places', file: 'file', dtype: 'f32', shape, contiguous: true },
    read: async (start, length, target) => {
      target.set(bytes.subarray(4 * start, 4 * (start + length)));
    },
  };
}

async function read(tensor: SourceTensor, start: number, count: number): Promise<number[]> {
  const values = new Float32Array(count);
  await tensor.read(start, count, new Uint8Array(values.buffer));
  return [...values];
}

test('each matrix of a stack is turned by itself, wherever a read begins and ends', async () => {
  const [count, rows, columns] = [3, 4, 5];
  const turned = transposedMatrix(places(count, rows, columns));
  assert.deepEqual(turned.shape, [count, columns, rows]);
  const expected = Array.from({ length: count * rows * columns }, (_, i) => {
    const [matrix, within] = [Math.floor(i / (rows * columns)), i % (rows * columns)];
    return matrix * rows * columns + (within % rows) * columns + Math.floor(within / rows);
  });
  const all = expected.length;
  for (const [start, length] of [
    [0, all],
    [7, 30],
    [19, 2],
    [20, 20],
    [3, 0],
  ] as const) {
    const found = await read(turned, start, length);
    assert.deepEqual(found, expected.slice(start, start + length), `${start}, ${length}`);
  }
});

test('rows of a turned matrix in another order are not read as its columns', async () => {
  const turned = transposedMatrix(places(3, 4));
  assert.ok(turned.turned !== undefined, 'who reads rectangles takes the columns');
  const backwards = reorderedRows(turned, 4, (row) => 3 - row);
  assert.equal(backwards.turned, undefined);
  assert.deepEqual(await read(backwards, 0, 12), [3, 7, 11, 2, 6, 10, 1, 5, 9, 0, 4, 8]);
});
