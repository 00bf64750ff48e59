/** The plan counts what stores allocate. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  allocateBook,
  bookkeepingBytes,
  policyBook,
  unitStoreBook,
} from '../../src/plan/store-book.ts';

test('a layer with a slot for each unit takes the bytes that the plan counts', () => {
  for (const units of [1, 7, 4864]) {
    const counts = { units, slots: units };
    const arrays: ArrayBufferView[] = [
      ...Object.values(allocateBook(unitStoreBook, counts)),
      ...Object.values(allocateBook(policyBook, counts)),
      new Float32Array(units), // how often each is wanted
    ];
    const bytes = arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
    assert.equal(bookkeepingBytes(units), bytes);
  }
});

test('arrays of slots are as long as there are slots', () => {
  const { free, slotOf } = allocateBook(unitStoreBook, { units: 9, slots: 4 });
  assert.deepEqual([free.length, slotOf.length], [4, 9]);
});
