import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alibiSlopes, fillAlibi } from '../../src/engine/alibi.ts';

test('slopes are those of the paper for powers of two, and between them for other numbers', () => {
  assert.deepEqual(
    alibiSlopes(8),
    [1, 2, 3, 4, 5, 6, 7, 8].map((i) => 2 ** -i),
  );
  // Those of 4 heads, then every other one of 8.
  assert.deepEqual(alibiSlopes(6), [2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1, 2 ** -3]);
});

test('slopes, positions and their products are rounded to bf16, as the reference does', () => {
  const [heads, context] = [16, 1000];
  const bias = new Float32Array(heads * context);
  fillAlibi(bias, heads, context);
  // Of the first head, whose slope is 2^-0.5 rounded.
  assert.deepEqual(
    [bias[0], bias[1], bias[257], bias[259], bias[999]],
    [0, 0.70703125, 181, 184, 708],
  );
  assert.equal(bias[15 * context + 512], 2);
});
