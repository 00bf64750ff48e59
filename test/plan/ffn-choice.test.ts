/** The choice between predictors and every neuron computed. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultProfile } from '../../src/flash/device-profile.ts';
import { planCheaper } from '../../src/plan/ffn-choice.ts';
import { planMemory } from '../../src/plan/plan-memory.ts';
import { tokenCost } from '../../src/plan/token-cost.ts';
import { opt125m, planRequestOf, predictorsOf } from '../support/plans.ts';
import { Dice } from '../support/random.ts';

const MIB = 1024 * 1024;

test('the plan is the one that is expected to be cheaper, at any budget and sparsity', () => {
  const dice = new Dice(5);
  const made = { sparse: 0, exact: 0 };
  for (let round = 0; round < 60; round++) {
    const power = dice.pick([0.05, 0.3, 1, 4, 20]);
    const predictors = predictorsOf(opt125m, dice, () => dice.next() ** power);
    const readCosts = {
      ...defaultProfile,
      bandwidth: dice.pick([2e8, 1e9, 8e9]),
      processorMs: dice.pick([0.045, 3]),
    };
    const request = planRequestOf(opt125m, dice.between(40, 320) * MIB, { predictors, readCosts });
    const { choice, ...plan } = planCheaper(request);
    assert.ok(choice);
    made[choice.sparse ? 'sparse' : 'exact']++;
    const { choice: none, ...alone } = planMemory(
      choice.sparse ? { ...request, sparse: true } : { ...request, predictors: null },
    );
    assert.equal(none, null);
    assert.deepEqual(plan, alone);
    const other = tokenCost(
      planMemory(choice.sparse ? { ...request, predictors: null } : { ...request, sparse: true }),
      request,
    );
    const own = choice.sparse ? choice.sparseMs : choice.exactMs;
    // Predictors are left aside where that saves 15% and five milliseconds.
    const saved = choice.sparse ? own - other.totalMs : other.totalMs - own;
    const worth = saved >= 5 && saved >= 0.15 * (choice.sparse ? own : other.totalMs);
    assert.equal(worth, !choice.sparse);
    assert.equal(choice.layers.length, opt125m.layers.length);
    for (const [layer, { way, sparseMs, exactMs }] of choice.layers.entries()) {
      const computed: boolean = !choice.sparse || predictors.set.layers[layer] === null;
      assert.equal(way === 'exact', computed);
      assert.ok(sparseMs > 0 && exactMs > 0);
    }
  }
  assert.ok(made.sparse >= 8 && made.exact >= 8, JSON.stringify(made));
});

test('a layer whose wanted neurons lie densely is read as a whole, beside others that are not', () => {
  const predictors = predictorsOf(opt125m, new Dice(6), () => 0.01);
  const dense = predictors.set.layers.findIndex((layer) => layer !== null);
  predictors.layers[dense]?.frequency.fill(0.5);
  const { choice } = planCheaper(planRequestOf(opt125m, 32 * MIB, { predictors }));
  assert.equal(choice?.sparse, true);
  for (const [layer, { way }] of choice.layers.entries()) {
    const others = predictors.set.layers[layer] === null ? 'exact' : 'chosen';
    assert.equal(way, layer === dense ? 'whole' : others);
  }
});

test('more memory is never expected to be slower', () => {
  const dice = new Dice(7);
  const predictors = predictorsOf(opt125m, dice, () => dice.next() ** 8);
  for (const sparse of [true, false]) {
    let before = Number.POSITIVE_INFINITY;
    for (let budget = 30; budget <= 330; budget += 20) {
      const request = planRequestOf(opt125m, budget * MIB, {
        predictors: sparse ? predictors : null,
        sparse,
      });
      const { totalMs } = tokenCost(planMemory(request), request);
      assert.ok(totalMs < 1.05 * before, `${budget} MiB: ${totalMs} ms after ${before} ms`);
      before = Math.min(before, totalMs);
    }
  }
});
