/** Where the rows of neurons lie that stay in memory. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemory } from '../../src/pages.ts';
import { layApart, neuronPlaces, neuronsApart } from '../../src/residency/rows-apart.ts';

const address = 4096;

for (const [name, parts] of [
  ['up and down', 2],
  ['gate, up and down', 3],
] as const) {
  test(`${name} of whole groups are found again, what is left stays`, () => {
    const rowBytes = 40;
    const bundleBytes = 128;
    const bundles = {
      bundleBytes,
      upOffset: (parts - 2) * rowBytes,
      downOffset: (parts - 1) * rowBytes,
    };
    for (const count of [1, 63, 64, 150]) {
      const memory = createMemory(1 << 20);
      const bytes = new Uint8Array(memory.buffer);
      const before = Uint8Array.from({ length: count * bundleBytes }, (_, i) => (i * 7919) >> 3);
      bytes.set(before, address);
      bytes.fill(0xaa, address + before.length);
      layApart(memory, address, count, bundles);

      const apart = neuronsApart(count);
      assert.equal(apart, count - (count % 64));
      const places = neuronPlaces(bundles, true);
      for (let neuron = 0; neuron < apart; neuron++) {
        const inGroup = neuron % places.group;
        const at =
          address +
          ((neuron - inGroup) / places.group) * places.groupStride +
          inGroup * places.stride;
        // The first row, the up row and the down column.
        for (const [now, then] of [
          [0, 0],
          [places.upOffset, bundles.upOffset],
          [places.downOffset, bundles.downOffset],
        ] as const) {
          const start = neuron * bundleBytes + then;
          assert.deepEqual(
            bytes.slice(at + now, at + now + rowBytes),
            before.slice(start, start + rowBytes),
          );
        }
      }
      assert.deepEqual(
        bytes.slice(address + apart * bundleBytes, address + before.length),
        before.slice(apart * bundleBytes),
      );
      assert.ok(bytes.subarray(address + before.length).every((byte) => byte === 0xaa));
    }
  });
}
