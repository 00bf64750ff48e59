/** The plan counts what stores allocate. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  allocateBook,
  bookkeepingBytes,
  policyBook,
  unitStoreBook,
} from '../../src/plan/store-book.ts';
import { storeScratch } from '../../src/residency/unit-store.ts';

test('layers with a slot for each unit take the bytes that the plan counts, and share their scratch', () => {
  for (const layers of [[1], [7, 3], [4864, 4864, 100]]) {
    const arrays: ArrayBufferView[] = layers.flatMap((units) => {
      const counts = { units, slots: units };
      return [
        ...Object.values(allocateBook(unitStoreBook, counts)),
        ...Object.values(allocateBook(policyBook, counts)),
        new Float32Array(units), // how often each is wanted
      ];
    });
    arrays.push(...Object.values(storeScratch(Math.max(...layers))));
    const bytes = arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
    assert.equal(bookkeepingBytes(layers), bytes);
  }
});

test('arrays of slots are as long as there are slots', () => {
  const { free, slotOf } = allocateBook(unitStoreBook, { units: 9, slots: 4 });
  assert.deepEqual([free.length, slotOf.length], [4, 9]);
});
