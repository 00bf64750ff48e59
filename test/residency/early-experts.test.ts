/** Guesses never cost more than time: no slot has two owners, whatever comes when. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EarlyExperts } from '../../src/residency/early-experts.ts';
import { WindowPolicy } from '../../src/residency/store-policy.ts';
import { noSlot, UnitStore, unitState } from '../../src/residency/unit-store.ts';
import { Dice } from '../support/random.ts';

/** A store whose reads end when they are told to. */
function simulated(experts: number, slots: number) {
  const store = new UnitStore(experts, slots, new WindowPolicy(experts, Number.POSITIVE_INFINITY));
  /** What is being read into each slot. */
  const reading = new Map<number, number>();
  const ends: (() => void)[] = [];
  let given = 0;
  const read = (expert: number, slot: number) => {
    assert.ok(!reading.has(slot), `slot ${slot} is still read into`);
    reading.set(slot, expert);
    given++;
    const done = new Promise<void>((resolve) => {
      ends.push(() => {
        reading.delete(slot);
        resolve();
      });
    });
    const request = { done, promote: () => {}, cancel: () => done };
    return { expert, arena: 0, address: slot, request };
  };
  const early = new EarlyExperts(store, slots, read);
  return { store, early, reading, read, ends, given: () => given };
}

test('no slot is given to anybody while something is read into it', async () => {
  const dice = new Dice(9);
  let [right, wrong, broken] = [0, 0, 0];
  for (let round = 0; round < 60; round++) {
    const experts = dice.between(4, 20);
    const topK = dice.between(1, Math.min(4, experts));
    const { store, early, reading, read, ends } = simulated(experts, dice.between(1, experts - 1));
    const choice = () =>
      dice
        .shuffle(Array.from({ length: experts }, (_, i) => i))
        .slice(0, topK)
        .sort((a, b) => a - b);
    for (let token = 0; token < 60; token++) {
      const wanted = choice();
      if (early.open) early.begin(dice.chance(0.7) ? wanted : choice());
      else early.skip();
      const guessed = [...reading.values()];
      if (dice.chance(0.1)) {
        // The pass is broken off before the step.
        broken++;
        const given = early.abandon();
        for (const end of ends.splice(0)) end();
        await given;
        for (const expert of guessed) assert.equal(store.slotOf(expert), noSlot);
        continue;
      }
      const { slots, states } = store.want(Uint32Array.from(wanted));
      const found = wanted.filter((_, i) => states[i] === unitState.inFlight);
      assert.deepEqual(
        found,
        wanted.filter((expert) => guessed.includes(expert)),
      );
      const missing = wanted.filter((_, i) => states[i] === unitState.missing);
      const taken = early.take((expert) => found.includes(expert), missing.length);
      assert.deepEqual(
        taken.map(({ expert }) => expert).sort((a, b) => a - b),
        found,
      );
      right += found.length;
      wrong += guessed.length - found.length;
      for (const [i, expert] of wanted.entries()) {
        const slot = slots[i] ?? noSlot;
        if (states[i] === unitState.missing && slot !== noSlot) read(expert, slot);
      }
      const settled = early.settle();
      for (const end of dice.shuffle(ends.splice(0))) end();
      await settled;
      for (const expert of guessed.filter((each) => !found.includes(each))) {
        assert.equal(store.slotOf(expert), noSlot, 'what was guessed wrong is not there');
      }
      assert.ok(store.used <= store.slots);
    }
  }
  assert.ok(right > 300 && wrong > 50 && broken > 100, `${right} ${wrong} ${broken}`);
});

test('a guess takes the slots of what was wanted longest ago, none of the last step', async () => {
  const { store, early, reading, ends } = simulated(8, 3);
  store.want(Uint32Array.of(0));
  store.want(Uint32Array.of(1, 2));
  early.begin([5, 6, 7]);
  assert.deepEqual([...reading.values()], [5]);
  assert.equal(store.slotOf(0), noSlot);
  assert.ok(store.slotOf(1) !== noSlot && store.slotOf(2) !== noSlot);
  for (const end of ends.splice(0)) end();
  await early.abandon();
});

test('where too many are wrong, nothing is guessed for a while', async () => {
  const { store, early, ends, given } = simulated(16, 8);
  let tokens = 0;
  for (; early.open && tokens < 100; tokens++) {
    early.begin([tokens % 2 === 0 ? 0 : 1]);
    store.want(Uint32Array.of(8 + (tokens % 8)));
    early.take(() => false, 1);
    for (const end of ends.splice(0)) end();
    await early.settle();
  }
  assert.ok(given() > 0 && tokens < 10, `${tokens} tokens`);
  for (let i = 0; i < 64; i++) early.skip();
  assert.ok(early.open, 'and tried again');
});
