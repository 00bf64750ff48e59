/** Orders of neurons: always a permutation, and those that fire together side by side. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coActivation, sampleSteps } from '../../src/arrange/co-activation.ts';
import { arrangeLayer } from '../../src/arrange/layer-order.ts';
import { orderOf, permuteRows, placesIn } from '../../src/arrange/neuron-order.ts';
import { InterruptedError } from '../../src/errors.ts';
import { defaultProfile } from '../../src/flash/device-profile.ts';
import { Dice } from '../support/random.ts';

const orderFrom = async (steps: readonly Uint32Array[], neurons: number) =>
  orderOf(await coActivation(steps, neurons), neurons);

function assertPermutation(order: Uint32Array, neurons: number): void {
  assert.deepEqual(
    [...order].sort((a, b) => a - b),
    Array.from({ length: neurons }, (_, i) => i),
  );
}

test('whatever fires, each neuron has one place', async () => {
  const dice = new Dice(1);
  for (let round = 0; round < 60; round++) {
    const neurons = dice.between(1, 200);
    const share = dice.pick([0, 0.02, 0.2, 0.7, 1]);
    const steps = Array.from({ length: dice.between(0, 120) }, () =>
      Uint32Array.from({ length: neurons }, (_, i) => i).filter(() => dice.chance(share)),
    );
    const order = await orderFrom(steps, neurons);
    assertPermutation(order, neurons);
    assert.deepEqual(await orderFrom(steps, neurons), order, 'the same each time');
    const places = placesIn(order);
    for (const [place, neuron] of order.entries()) assert.equal(places[neuron], place);
  }
});

/** Groups of neurons at random places; each step some groups fire, nearly whole, and a little noise. */
function planted(dice: Dice, { groups = 40, size = 8, steps = 400 }) {
  const neurons = groups * size;
  const shuffled = Array.from({ length: neurons }, (_, i) => i);
  for (let i = neurons - 1; i > 0; i--) {
    const j = dice.between(0, i);
    [shuffled[i], shuffled[j]] = [shuffled[j] ?? 0, shuffled[i] ?? 0];
  }
  const groupOf = new Uint32Array(neurons);
  for (const [i, neuron] of shuffled.entries()) groupOf[neuron] = Math.floor(i / size);
  const fire = () => {
    const chosen = new Set(Array.from({ length: 3 }, () => dice.between(0, groups - 1)));
    return Uint32Array.from({ length: neurons }, (_, i) => i).filter((id) =>
      dice.chance(chosen.has(groupOf[id] ?? 0) ? 0.9 : 0.005),
    );
  };
  return { neurons, groupOf, steps: Array.from({ length: steps }, fire) };
}

test('groups that were scattered lie together', async () => {
  const { neurons, groupOf, steps } = planted(new Dice(2), {});
  const order = await orderFrom(steps, neurons);
  let together = 0;
  for (let place = 1; place < neurons; place++) {
    if (groupOf[order[place] ?? 0] === groupOf[order[place - 1] ?? 0]) together++;
  }
  // 7 of 8 places at best; by chance 2%.
  assert.ok(together > 0.8 * neurons, `${together} of ${neurons} beside one of their group`);
});

test('what it is worth is told on tokens that were not learned from', async () => {
  const samples = (steps: readonly Uint32Array[]) => ({
    count: steps.length,
    heldOut: 60,
    activeCount: (i: number) => steps[i]?.length ?? 0,
    active: (i: number) => steps[i] ?? new Uint32Array(),
  });
  const dice = new Dice(3);
  const layer = { neurons: 2048, bundleBytes: 4096 };
  const grouped = planted(dice, { groups: 256, size: 8, steps: 700 });
  const good = await arrangeLayer(samples(grouped.steps), layer, defaultProfile);
  assertPermutation(good.order, layer.neurons);
  assert.ok(good.readAfter < 0.5 * good.readBefore, JSON.stringify(good));
  const random = Array.from({ length: 700 }, () =>
    Uint32Array.from({ length: layer.neurons }, (_, i) => i).filter(() => dice.chance(0.012)),
  );
  const none = await arrangeLayer(samples(random), layer, defaultProfile);
  assert.ok(none.readAfter > 0.9 * none.readBefore, JSON.stringify(none));
});

test('Ctrl-C is heard in the middle of it', async () => {
  const { neurons, steps } = planted(new Dice(4), {});
  const stop = new AbortController();
  const stopped = coActivation(steps, neurons, stop.signal);
  stop.abort();
  await assert.rejects(stopped, InterruptedError);
});

test('tokens are counted evenly, and not more than are bearable', () => {
  assert.deepEqual(sampleSteps([3, 0, 5]), [0, 1, 2]);
  const dense = new Uint32Array(10_000).fill(5000);
  const steps = sampleSteps(dense);
  assert.ok(steps.length > 50 && steps.length * 5000 <= 2 * 1024 * 1024);
  assert.equal(steps[1], (steps[2] ?? 0) / 2);
});

test('rows follow their neurons', () => {
  const rows = Uint8Array.from([0, 0, 1, 1, 2, 2]);
  assert.deepEqual([...permuteRows(rows, Uint32Array.of(2, 0, 1))], [2, 2, 0, 0, 1, 1]);
});
