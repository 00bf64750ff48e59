/** Plans extended by the memory that a draft leaves. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rowsOf } from '../../src/flash/manifest.ts';
import { extendPlan } from '../../src/plan/extend-plan.ts';
import type { MemoryPlan } from '../../src/plan/memory-plan.ts';
import { planMemory } from '../../src/plan/plan-memory.ts';
import { checkPlan, tryPlan } from '../support/check-plan.ts';
import { manifestOf, opt125m, planRequestOf, predictorsOf } from '../support/plans.ts';
import { Dice } from '../support/random.ts';

const MIB = 1024 * 1024;

/** What a plan takes, all items together. */
function taken({ items }: MemoryPlan): number {
  return items.reduce((sum, { bytes }) => sum + bytes, 0);
}

test('properties hold for random models, budgets and drafts', () => {
  const dice = new Dice(4);
  let [extended, useless, whole, arenas] = [0, 0, 0, 0];
  for (let round = 0; round < 700; round++) {
    const tile = dice.chance(0.4) ? dice.pick([2, 16, 100]) : undefined;
    const heads = dice.between(1, 8);
    const hidden = heads * 8 * dice.between(2, 8);
    const manifest = manifestOf(
      {
        hidden_size: hidden,
        num_attention_heads: heads,
        num_hidden_layers: dice.between(1, 6),
        ffn_dim: (tile ?? 1) * dice.between(4, tile === undefined ? 900 : 40),
        vocab_size: dice.between(10, 4000),
        max_position_embeddings: 300,
        word_embed_proj_dim: dice.chance(0.3) ? dice.between(1, 64) : hidden,
        tie_word_embeddings: dice.chance(0.5),
      },
      tile,
    );
    const memoryLimit = dice.chance(0.3) ? dice.between(3, 9) * MIB : 2 ** 32;
    const predictors = tile === undefined && dice.chance(0.2) ? predictorsOf(manifest, dice) : null;
    const draftBytes = Math.floor(dice.next() * 8 * MIB);
    const plan = tryPlan(
      planRequestOf(manifest, draftBytes + Math.floor((1 + dice.next() * 7) * MIB), {
        ...{ draftBytes, memoryLimit, predictors, sparse: predictors !== null },
        chunk: dice.pick([1, 8, 64]),
        // The threads themselves take more than such a model.
        ...{ threads: dice.between(1, 3), beside: true },
      }),
    );
    if (plan === null) continue;
    const memoryBytes = Math.min(memoryLimit, Math.floor(draftBytes * dice.pick([0.5, 0.9, 1])));
    const before = structuredClone({ ...plan, residences: [], extensions: [] });
    const more = extendPlan(plan, manifest, memoryBytes);
    assert.deepEqual(structuredClone({ ...plan, residences: [], extensions: [] }), before);
    if (more === null) {
      useless++;
      continue;
    }
    extended++;
    if (more.fitsWhole) whole++;
    if (more.arenas.length > 1) arenas++;
    checkPlan(manifest, more, memoryLimit);
    assert.ok(
      (more.arenas.at(-1)?.memoryBytes ?? 0) <= memoryBytes,
      'nothing lies beyond the memory',
    );
    assert.equal(taken(more), taken(plan), 'the draft gives what the weights take');
    assert.ok(more.items.every(({ bytes }) => bytes >= 0));
    let moved = 0;
    for (const [tensor, { rows, first }] of more.extensions) {
      const { rows: all, rowBytes } = rowsOf(tensor);
      if ([...plan.body, ...plan.head].some((range) => range.tensor === tensor)) {
        moved += rows * rowBytes;
      } else {
        assert.equal(rows, all, 'a table lies there as a whole');
      }
      const isNeuron = manifest.layers.some((layer) => layer.tensor === tensor.name);
      assert.ok(first + rows === all || rows % (isNeuron ? 64 : tile === undefined ? 4 : 1) === 0);
    }
    assert.equal(more.streamedBytes, plan.streamedBytes - moved);
    assert.ok(moved > 0);
  }
  const found = JSON.stringify({ extended, useless, whole, arenas });
  assert.ok(extended > 150 && useless > 50 && whole > 20 && arenas > 10, found);
});

test('about as much is streamed as if there had been no draft', () => {
  for (const draftBytes of [20 * MIB, 40 * MIB, 60 * MIB]) {
    const request = planRequestOf(opt125m, 170 * MIB);
    const alone = planMemory(request);
    const more = extendPlan(planMemory({ ...request, draftBytes }), opt125m, draftBytes);
    assert.ok(more !== null);
    checkPlan(opt125m, more);
    // Transfer buffers, the ring's size, and whole groups of neurons.
    const difference = more.streamedBytes - alone.streamedBytes;
    assert.ok(Math.abs(difference) < 8 * MIB, `${difference} bytes more`);
  }
});

test('every layer gets the same share', () => {
  const plan = planMemory(planRequestOf(opt125m, 170 * MIB, { draftBytes: 40 * MIB }));
  const more = extendPlan(plan, opt125m, 40 * MIB);
  const rows = opt125m.layers.map(
    ({ tensor }) =>
      [...(more?.extensions ?? [])].find(([{ name }]) => name === tensor)?.[1].rows ?? 0,
  );
  assert.ok(Math.min(...rows) > 0 && Math.max(...rows) - Math.min(...rows) <= 64, rows.join(' '));
});

test('no more is used than the plan counts for the draft', () => {
  const plan = planMemory(planRequestOf(opt125m, 170 * MIB, { draftBytes: 30 * MIB }));
  const more = extendPlan(plan, opt125m, 200 * MIB);
  assert.ok(more !== null && (more.arenas.at(-1)?.memoryBytes ?? 0) <= 30 * MIB);
});

test('nothing comes of it where nothing is streamed, or only chosen neurons are read', () => {
  const draftBytes = 40 * MIB;
  const whole = planMemory(planRequestOf(opt125m, 500 * MIB, { draftBytes }));
  assert.equal(extendPlan(whole, opt125m, draftBytes), null);
  const predictors = predictorsOf(opt125m, new Dice(2));
  const chosen = planMemory(
    planRequestOf(opt125m, 260 * MIB, { draftBytes, predictors, sparse: true }),
  );
  assert.ok(chosen.streamedBytes > 0 && chosen.body.length + chosen.head.length === 0);
  assert.equal(extendPlan(chosen, opt125m, draftBytes), null);
  // Too small for the transfer buffers.
  const tight = planMemory(planRequestOf(opt125m, 140 * MIB, { draftBytes: MIB }));
  assert.equal(extendPlan(tight, opt125m, MIB), null);
});
