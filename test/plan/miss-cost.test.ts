/** The formula for reads of missing neurons, held against the planner that makes them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceFile } from '../../src/flash/device-file.ts';
import { defaultProfile, readLimits } from '../../src/flash/device-profile.ts';
import { planReads } from '../../src/flash/read-plan.ts';
import { missCost } from '../../src/plan/miss-cost.ts';
import { Dice } from '../support/random.ts';

// No read is split, so that runs can be counted.
const unsplit = { largestRead: 2 ** 30, smallestPiece: 2 ** 30 };
const ordinary = { ...defaultProfile, ...unsplit };
const fast = { ...ordinary, bandwidth: 2e9, breakEvenGap: 112 * 1024 };
const rounds = 200;

/** Mean reads and bytes of `missed` neurons that lie anywhere in a layer. */
function measured(
  missed: number,
  { neurons, bundleBytes }: { neurons: number; bundleBytes: number },
  costs: typeof defaultProfile,
) {
  const dice = new Dice(missed);
  const file = { path: '', size: neurons * bundleBytes, alignment: 512 } as DeviceFile;
  const target = new Uint8Array(bundleBytes);
  const limits = { ...readLimits(costs), lanes: 1 };
  let [reads, bytes] = [0, 0];
  for (let round = 0; round < rounds; round++) {
    const ids = new Set<number>();
    while (ids.size < missed) ids.add(dice.between(0, neurons - 1));
    const extents = [...ids].map((id) => ({ file, position: id * bundleBytes, target }));
    for (const read of planReads(extents, limits)) {
      reads++;
      bytes += read.bytes;
    }
  }
  return { reads: reads / rounds, bytes: bytes / rounds };
}

for (const [name, costs] of [
  ['an ordinary SSD', ordinary],
  ['a device that reads over long gaps', fast],
] as const) {
  for (const bundleBytes of [1536, 3072, 5632, 16384]) {
    test(`${name}, bundles of ${bundleBytes}: reads and bytes are those that are planned`, () => {
      const layer = { neurons: 4864, bundleBytes };
      for (const missed of [10, 40, 60, 180, 500, 1500]) {
        const plan = measured(missed, layer, costs);
        const said = missCost(missed, layer, costs);
        const what = `${missed} missed: ${JSON.stringify({ plan, said })}`;
        assert.ok(Math.abs(said.bytes / plan.bytes - 1) < 0.15, what);
        // Few reads differ by the splitting of long ones.
        assert.ok(Math.abs(said.reads - plan.reads) < 0.15 * plan.reads + 5, what);
      }
    });
  }
}

test('more misses never cost less, and all of them cost one pass over the layer', () => {
  for (const costs of [ordinary, fast]) {
    const layer = { neurons: 1000, bundleBytes: 4096 };
    let before = 0;
    for (let missed = 0; missed <= 1000; missed += 10) {
      const { bytes } = missCost(missed, layer, costs);
      assert.ok(bytes >= before, `${missed}: ${bytes} after ${before}`);
      before = bytes;
    }
    assert.equal(before, 1000 * 4096);
  }
});

test('nothing missed costs nothing, and a part of a neuron a part of a read', () => {
  const layer = { neurons: 1000, bundleBytes: 4096 };
  assert.deepEqual(missCost(0, layer, defaultProfile), { reads: 0, bytes: 0, ms: 0 });
  const { reads } = missCost(0.25, layer, defaultProfile);
  assert.equal(reads, 0.25);
});
