/** What a store that knows the future misses, held against all that stores can do. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultProfile, readLimits } from '../../src/flash/device-profile.ts';
import { fewestMisses, WantedTrace } from '../../src/residency/store-bound.ts';
import { StoreSimulation } from '../../src/residency/store-simulation.ts';
import { Dice } from '../support/random.ts';

function randomLists(dice: Dice, steps: number, neurons: number, share: number): Uint32Array[] {
  return Array.from({ length: steps }, () =>
    Uint32Array.from(
      Array.from({ length: neurons }, (_, id) => id).filter(() => dice.chance(share)),
    ),
  );
}

/** All sets of `slots` of these neurons, as bits. */
function subsets(of: number, slots: number): number[] {
  const found: number[] = [];
  for (let set = of; ; set = (set - 1) & of) {
    if (bitCount(set) <= slots) found.push(set);
    if (set === 0) return found;
  }
}

function bitCount(set: number): number {
  let count = 0;
  for (let rest = set; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** The fewest misses, by trying what may be kept after each step. */
function byTrying(lists: readonly Uint32Array[], neurons: number, slots: number): number {
  let best = new Map<number, number>();
  for (const set of subsets(2 ** neurons - 1, slots)) best.set(set, 0);
  for (const list of lists) {
    const wanted = list.reduce((set, id) => set | (1 << id), 0);
    const next = new Map<number, number>();
    for (const [held, missed] of best) {
      const cost = missed + bitCount(wanted & ~held);
      for (const kept of subsets(held | wanted, slots)) {
        next.set(kept, Math.min(cost, next.get(kept) ?? Number.POSITIVE_INFINITY));
      }
    }
    best = next;
  }
  return Math.min(...best.values());
}

test('no choice of what is kept misses less', () => {
  const dice = new Dice(3);
  for (let round = 0; round < 60; round++) {
    const neurons = dice.between(2, 6);
    const slots = dice.between(0, neurons);
    const lists = randomLists(dice, dice.between(1, 7), neurons, dice.pick([0.2, 0.4, 0.7]));
    assert.equal(fewestMisses(lists, neurons, slots), byTrying(lists, neurons, slots));
  }
});

test('our store misses no less on the same lists', () => {
  const dice = new Dice(4);
  const [neurons, slots, bundleBytes] = [300, 60, 512];
  const frequency = Float32Array.from({ length: neurons }, () => dice.next() ** 6);
  const ids = Array.from({ length: neurons }, (_, id) => id);
  const lists = Array.from({ length: 200 }, () =>
    Uint32Array.from(ids.filter((id) => dice.chance(frequency[id] ?? 0))),
  );
  const layer = { neurons, frequency, slots, bundleBytes };
  const simulation = new StoreSimulation([layer], 'auto', readLimits(defaultProfile));
  for (const list of lists) simulation.step(0, list);
  const least = fewestMisses(lists, neurons, slots);
  const ours = simulation.totals.missedBytes / bundleBytes;
  assert.ok(least > 0 && least < ours, `${least} of ${ours}`);
});

test('a trace gives back its lists, and keeps whole tokens when it is full', () => {
  const dice = new Dice(5);
  const neurons = [40, 900];
  const trace = new WantedTrace(neurons, 4000);
  const added = neurons.map((count) => randomLists(dice, 300, count, 0.02));
  for (let token = 0; token < 300; token++) {
    for (const layer of neurons.keys()) {
      trace.add(layer, added[layer]?.[token] ?? new Uint32Array());
    }
  }
  assert.ok(trace.full);
  assert.ok(trace.tokens > 20 && trace.tokens < 300, `${trace.tokens}`);
  for (const layer of neurons.keys()) {
    assert.deepEqual(trace.lists(layer), added[layer]?.slice(0, trace.tokens));
  }
});
