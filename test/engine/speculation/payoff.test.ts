/** When a draft model is given up: by a clock that is told, not measured. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PassTimes } from '../../../src/engine/pass-times.ts';
import { checkedPasses, Payoff } from '../../../src/engine/speculation/payoff.ts';
import { simulate, type World } from './clocked.ts';

/** Generates until the draft does not pay any more. @returns the number of passes; null where it always pays */
function passesUntilLoss(world: World, relativeMs: number, wanted = 3000, seed = 1) {
  const passTimes = new PassTimes();
  const payoff = new Payoff({ passTimes, relativeMs });
  let passes = 0;
  simulate(world, wanted, {
    ...{ seed, passTimes },
    after: (outcome) => {
      payoff.add(outcome);
      passes++;
      return payoff.pays;
    },
  });
  return payoff.pays ? null : { passes, tokensPerPass: payoff.tokensPerPass };
}

const streamed = (rows: number) => 300 + 10 * rows;
const inMemory = (rows: number) => 50 + 50 * rows;
const seeds = [1, 2, 3, 4, 5];

test('a draft that is never right is given up after two checks', () => {
  for (const passMs of [streamed, inMemory]) {
    for (const seed of seeds) {
      const world = { passMs, draftMs: 20, right: () => 0 };
      const found = passesUntilLoss(world, 0.7, 3000, seed);
      assert.deepEqual(found, { passes: 2 * checkedPasses, tokensPerPass: 1 });
    }
  }
});

test('one that gains more than its memory would is kept', () => {
  for (const seed of seeds) {
    const world = { passMs: streamed, draftMs: 20, right: () => 0.85 };
    assert.equal(passesUntilLoss(world, 0.6, 3000, seed), null);
    assert.equal(passesUntilLoss({ ...world, noise: 0.3 }, 0.6, 3000, seed), null);
  }
});

test('one that gains something, but less than its memory would, is given up', () => {
  for (const seed of seeds) {
    const world = { passMs: streamed, draftMs: 30, right: () => 0.5 };
    const { tokens, ms } = simulate(world, 600, { seed });
    assert.ok(tokens / (ms / streamed(1)) > 1.15, 'proposals gain something');
    const found = passesUntilLoss(world, 0.5, 3000, seed);
    assert.ok(found !== null && found.passes <= 6 * checkedPasses, JSON.stringify(found));
    assert.ok(found.tokensPerPass > 1.2 && found.tokensPerPass < 2.5);
  }
});

test('a machine that slows down for a while gives up nothing that pays', () => {
  const busy = (rows: number, pass: number) => streamed(rows) * (pass > 100 && pass < 160 ? 4 : 1);
  for (const seed of seeds) {
    const world = { passMs: busy, draftMs: 10, right: () => 0.65 };
    assert.equal(passesUntilLoss(world, 0.7, 1200, seed), null);
  }
});

test('a short part of a text in which nothing is right gives up nothing', () => {
  const right = (pass: number) => (pass % 200 >= 2 * checkedPasses && pass % 200 < 72 ? 0 : 0.85);
  for (const seed of seeds) {
    assert.equal(passesUntilLoss({ passMs: streamed, draftMs: 20, right }, 0.7, 3000, seed), null);
  }
});

test('with several sequences, each of which gets a token of every pass anyway', () => {
  for (const seed of seeds) {
    const world = { passMs: streamed, draftMs: 10, sequences: 8, right: () => 0.85 };
    assert.equal(passesUntilLoss(world, 0.8, 3000, seed), null);
    const found = passesUntilLoss({ ...world, right: () => 0.1 }, 0.8, 3000, seed);
    assert.ok(found !== null && found.passes <= 4 * checkedPasses, JSON.stringify(found));
  }
});
