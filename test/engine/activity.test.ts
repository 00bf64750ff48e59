/** Aggregated use of neurons, held against counting it from the lists. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keptTokens, ModelActivity, neededAt } from '../../src/engine/activity.ts';
import { Dice } from '../support/random.ts';

const warmUp = 32;

test('shares are those that counting sets gives', () => {
  const dice = new Dice(11);
  const neurons = 90;
  const activity = new ModelActivity([neurons]);
  const used = new Map<number, number>();
  const needed = new Map<number, number>();
  let counted = 0;
  for (const length of [60, 20, 45]) {
    activity.restart();
    const lists: number[][] = [];
    for (let token = 0; token < length; token++) {
      const active = Array.from({ length: neurons }, (_, id) => id).filter((id) =>
        dice.chance(0.3 / (1 + id / 10)),
      );
      lists.push(active);
      activity.token(0, active);
      if (token < warmUp) continue;
      counted++;
      for (const k of keptTokens) {
        const last = new Set(lists.slice(token - k + 1).flat());
        const kept = new Set(lists.slice(token - k, token).flat());
        used.set(k, (used.get(k) ?? 0) + last.size / neurons);
        const fresh = active.filter((id) => !kept.has(id)).length;
        needed.set(k, (needed.get(k) ?? 0) + fresh / neurons);
      }
    }
  }
  assert.equal(activity.tokens, counted);
  for (const found of activity.aggregated) {
    assert.ok(Math.abs(found.used - (used.get(found.k) ?? 0) / counted) < 1e-9, `${found.k}`);
    assert.ok(Math.abs(found.needed - (needed.get(found.k) ?? 0) / counted) < 1e-9, `${found.k}`);
  }
});

test('sequences that are too short give nothing', () => {
  const activity = new ModelActivity([10]);
  for (let token = 0; token < warmUp; token++) activity.token(0, [token % 10]);
  assert.deepEqual(activity.aggregated, []);
  assert.equal(neededAt(0, 0.1, []), 0.1);
  assert.equal(neededAt(1, 0.1, []), 0);
});

test('what is needed falls from all that fires to nothing as more is held', () => {
  const aggregated = [
    { k: 1, used: 0.05, needed: 0.04 },
    { k: 4, used: 0.13, needed: 0.02 },
  ];
  const at = (held: number) => neededAt(held, 0.05, aggregated);
  assert.equal(at(0), 0.05);
  assert.equal(at(0.05), 0.04);
  assert.ok(Math.abs(at(0.09) - 0.03) < 1e-9);
  assert.equal(at(0.13), 0.02);
  assert.ok(at(0.5) < 0.02 && at(0.5) > 0);
  assert.equal(at(1), 0);
});
