/** Stores as a model's plan and predictors make them. */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Model } from '../../src/engine/model.ts';
import { ComputeThreads } from '../../src/kernels/threads/pool.ts';
import { createMemory } from '../../src/pages.ts';
import { UnitStores } from '../../src/residency/unit-stores.ts';
import { converted } from '../engine/support.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { addPredictors, perfectPredictor } from '../support/predictors.ts';
import { temporaryRoot } from '../support/temporary.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
let model = '';
/** A layer whose predictor is rows; all others have factors. */
const rowsLayer = 1;
before(async () => {
  model = await converted(root, storiesOpt);
  await addPredictors(model, (layer, manifest) => ({
    ...perfectPredictor(model, layer, manifest),
    ...(layer === rowsLayer && { form: 'rows' as const }),
  }));
});

test('slots are kept free for reading ahead only where something is read ahead', async () => {
  const opened = await Model.open(model);
  const threads = await ComputeThreads.start(1);
  try {
    const floor = opened.floor({ context: 16, threads: 1 });
    const plan = opened.plan({ context: 16, threads: 1, budget: floor.bytes + 1.2 * MIB });
    const { sparse, predictors } = plan;
    assert.ok(sparse !== null && predictors !== null);
    const memory = createMemory(plan.memoryBytes);
    const kernels = await threads.kernels(memory);
    const memories = [{ memory, kernels, scratch: plan.activations.scratch, exact: false }];
    const wanted = { stores: sparse.stores, demand: predictors.layers };
    const { layers } = await UnitStores.load(opened.files, wanted, memories, 'auto');
    for (const [index, { store, place, throttle }] of layers.entries()) {
      assert.ok(place.slots > 0 && place.slots < store.units, `${place.slots} slots`);
      if (index === rowsLayer) {
        assert.equal(store.capacity, place.slots);
        assert.equal(store.used, place.slots, 'all of them hold a neuron from the start');
        assert.ok(!throttle.open);
      } else {
        assert.ok(store.capacity < place.slots, `${store.capacity} of ${place.slots}`);
        assert.ok(throttle.open);
      }
    }
  } finally {
    opened.close();
    await threads.close();
  }
});
