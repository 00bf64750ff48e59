/** The book-keeping of units in DRAM: properties after any sequence of steps. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hottest, shareSlots } from '../../src/plan/share-slots.ts';
import { createPolicy, type PolicyName } from '../../src/residency/store-policy.ts';
import { noSlot, UnitStore, unitState } from '../../src/residency/unit-store.ts';
import { Dice } from '../support/random.ts';

/** A store beside a plain account of what its slots must hold. */
class Checked {
  readonly store: UnitStore;
  readonly held = new Map<number, number>();

  constructor(
    neurons: number,
    slots: number,
    policy: PolicyName,
    frequency: Float32Array,
    reserve = 0,
  ) {
    this.store = new UnitStore(neurons, slots, createPolicy(policy, frequency), reserve);
  }

  /** Reads ahead; nothing that is there is overwritten. */
  speculate(guess: readonly number[]): void {
    const { units: neurons, slots } = this.store.speculate(Uint32Array.from(guess));
    assert.equal(neurons.length, slots.length);
    for (const [i, neuron] of neurons.entries()) {
      assert.ok(guess.includes(neuron) && ![...this.held.values()].includes(neuron));
      const slot = slots[i] ?? noSlot;
      assert.ok(!this.held.has(slot), 'a free slot');
      this.held.set(slot, neuron);
      this.#inFlight.set(neuron, slot);
    }
  }

  readonly #inFlight = new Map<number, number>();

  /** A step; what is missing is "read" unless it is to fail. */
  step(wanted: readonly number[], fails: (neuron: number) => boolean = () => false): number {
    const before = new Map(this.held);
    const { slots, states, resident, inFlight } = this.store.want(Uint32Array.from(wanted));
    let counted = 0;
    // What was read ahead for nothing is still arriving: nobody else is put there.
    const unwanted = [...this.#inFlight].filter(([neuron]) => !wanted.includes(neuron));
    const taken = new Set(unwanted.map(([, slot]) => slot));
    for (const slot of slots.subarray(0, wanted.length)) assert.ok(!taken.has(slot));
    for (const slot of taken) this.held.delete(slot);
    assert.equal(inFlight, this.#inFlight.size - unwanted.length);
    wanted.forEach((neuron, i) => {
      const slot = slots[i] ?? noSlot;
      assert.equal(states[i] === unitState.inFlight, this.#inFlight.has(neuron));
      if (states[i] === unitState.inFlight) return;
      if (states[i] === unitState.resident) {
        counted++;
        assert.equal(before.get(slot), neuron, 'a hit is where it was read to');
      } else {
        if (slot === noSlot) return;
        // Whoever was there is overwritten.
        this.held.set(slot, neuron);
      }
    });
    assert.equal(resident, counted);
    this.#inFlight.clear();
    const places = wanted.map((_, i) => slots[i] ?? noSlot).filter((slot) => slot !== noSlot);
    assert.equal(new Set(places).size, places.length, 'no slot is used twice');
    for (const [i, neuron] of wanted.entries()) {
      if (states[i] !== unitState.missing || !fails(neuron)) continue;
      const slot = slots[i] ?? noSlot;
      this.store.forget(neuron);
      if (slot !== noSlot) this.held.delete(slot);
    }
    this.store.commit();
    for (const [slot, neuron] of this.held) {
      if (this.store.slotOf(neuron) !== slot) this.held.delete(slot); // put out
    }
    this.check();
    return resident;
  }

  check(): void {
    const { store } = this;
    let used = 0;
    for (let slot = 0; slot < store.slots; slot++) {
      const neuron = store.unitIn(slot);
      if (neuron < 0) continue;
      used++;
      assert.equal(store.slotOf(neuron), slot);
      assert.equal(this.held.get(slot), neuron, 'the slot holds what was read there last');
    }
    assert.equal(store.used, used);
    assert.ok(used <= store.slots, 'it never grows');
    const found = Array.from({ length: store.units }, (_, n) => store.slotOf(n));
    assert.equal(found.filter((slot) => slot !== noSlot).length, used);
  }

  preload(ids: readonly number[]): void {
    for (const id of ids) this.held.set(this.store.preload(id), id);
    this.check();
  }
}

const unique = (id: number, at: number, all: readonly number[]) => all.indexOf(id) === at;

test('after any sequence of steps the store holds what it says', () => {
  const dice = new Dice(9);
  for (let round = 0; round < 300; round++) {
    const neurons = dice.between(1, 90);
    const slots = dice.between(0, neurons);
    const policy = dice.pick<PolicyName>(['auto', 1, 2, 5, Number.POSITIVE_INFINITY]);
    const frequency = Float32Array.from({ length: neurons }, () => dice.next() ** 3);
    const reserve = policy === 'auto' && slots > 0 ? dice.between(0, slots - 1) : 0;
    const checked = new Checked(neurons, slots, policy, frequency, reserve);
    if (dice.chance(0.7)) {
      checked.preload(hottest({ neurons, frequency }, dice.between(0, slots - reserve)));
    }
    const failing = dice.chance(0.3) ? 0.1 : 0;
    for (let step = 0; step < 40; step++) {
      const share = dice.next() ** 2;
      const wanted = Array.from({ length: neurons }, (_, id) => id).filter(() =>
        dice.chance(share),
      );
      if (reserve > 0 && dice.chance(0.7)) {
        checked.speculate(
          wanted
            .filter(() => dice.chance(0.8))
            .concat(neurons - 1)
            .filter(unique),
        );
      }
      checked.step(wanted, () => dice.chance(failing));
      // Between two steps the reserve is free again, as far as the step did not want it all.
      if (wanted.length <= slots - reserve) assert.ok(checked.store.used <= checked.store.capacity);
    }
  }
});

test('what fits is never read twice', () => {
  for (const policy of ['auto', Number.POSITIVE_INFINITY] as const) {
    const checked = new Checked(20, 10, policy, new Float32Array(20));
    checked.step([1, 3, 5]);
    checked.step([2, 4, 6, 8]);
    assert.equal(checked.step([1, 2, 3, 4, 5, 6, 8]), 7, 'all are there');
  }
});

test('a speculation that is given up before any step leaves all slots free', () => {
  const dice = new Dice(11);
  for (let round = 0; round < 100; round++) {
    const units = dice.between(2, 40);
    const slots = dice.between(1, units);
    const store = new UnitStore(units, slots, createPolicy('auto', new Float32Array(units)));
    const guess = Uint32Array.from({ length: units }, (_, id) => id).filter(() => dice.chance(0.6));
    // Given up more often than there are slots, so that nothing may pile up.
    for (let time = 0; time < 3; time++) {
      const read = store.speculate(guess);
      assert.equal(read.units.length, Math.min(guess.length, slots));
      for (const unit of read.units) store.forget(unit);
      store.commit();
      assert.equal(store.used, 0);
    }
    const wanted = Uint32Array.from({ length: units }, (_, id) => id);
    const { states, inFlight, resident } = store.want(wanted);
    assert.deepEqual([inFlight, resident], [0, 0]);
    assert.ok(states.subarray(0, units).every((state) => state === unitState.missing));
    assert.equal(store.used, slots);
  }
});

test('a window keeps what the last k steps wanted and nothing else', () => {
  const checked = new Checked(20, 20, 2, new Float32Array(20));
  checked.step([1, 2]);
  checked.step([2, 3]);
  assert.equal(checked.step([1]), 1, '1 was wanted two steps ago');
  checked.step([9]);
  assert.equal(checked.step([2, 3]), 0, '2 and 3 were wanted three steps ago');
  assert.equal(checked.store.used, 4, 'of the last two steps 1 and 9, and now 2 and 3');
});

test('frequency and age: a stranger does not drive out what is wanted all the time', () => {
  const checked = new Checked(10, 2, 'auto', new Float32Array(10));
  for (let i = 0; i < 10; i++) checked.step([0, 1]);
  checked.step([7]);
  assert.equal(checked.step([0, 1]), 2);
  for (let i = 0; i < 60; i++) checked.step([7, 8]);
  assert.equal(checked.step([7, 8]), 2, 'but times change');
});

test('values stay finite and in order over very many steps', () => {
  const checked = new Checked(4, 2, 'auto', new Float32Array(4));
  for (let i = 0; i < 20_000; i++) checked.step([0, i % 2 === 0 ? 1 : 2]);
  assert.notEqual(checked.store.slotOf(0), noSlot);
});

test('slots go to the neurons that are wanted most, of whatever layer', () => {
  const dice = new Dice(4);
  for (let round = 0; round < 300; round++) {
    const layers = Array.from({ length: dice.between(1, 5) }, () => {
      const neurons = dice.between(1, 40);
      const frequency = Float32Array.from({ length: neurons }, () =>
        dice.chance(0.3) ? 0 : dice.pick([0.25, 0.5, dice.next()]),
      );
      return { neurons, frequency };
    });
    const all = layers.reduce((sum, { neurons }) => sum + neurons, 0);
    const slots = dice.between(0, all + 3);
    const shares = shareSlots(layers, slots);
    const taken = shares.reduce((a, b) => a + b, 0);
    assert.equal(taken, Math.min(slots, all));
    const inside: number[] = [];
    const outside: number[] = [];
    layers.forEach(({ frequency }, layer) => {
      const sorted = [...frequency].sort((a, b) => b - a);
      const share = shares[layer] ?? 0;
      assert.ok(share >= 0 && share <= frequency.length);
      inside.push(...sorted.slice(0, share));
      outside.push(...sorted.slice(share));
    });
    if (inside.length > 0 && outside.length > 0) {
      assert.ok(Math.min(...inside) >= Math.max(...outside));
    }
  }
});
