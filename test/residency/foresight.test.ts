/** Guesses go on where they are right, and stop for a while where they are not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Foresight } from '../../src/residency/foresight.ts';

test('while guesses are right, room is kept for what is needed', () => {
  const foresight = new Foresight(1000);
  for (let token = 0; token < 100; token++) {
    assert.ok(foresight.tries());
    foresight.learn(90, 10, 50);
  }
  assert.ok(foresight.reserve >= 140 && foresight.reserve <= 200, `${foresight.reserve}`);
  for (let token = 0; token < 100; token++) foresight.learn(5000, 0, 0);
  assert.equal(foresight.reserve, 300, 'not more than a share of all');
});

test('guesses that read for nothing pause, keep no room, and are tried again', () => {
  const foresight = new Foresight(1000);
  foresight.learn(10, 34, 10);
  assert.equal(foresight.reserve, 0);
  let paused = 0;
  while (!foresight.tries()) paused++;
  assert.ok(paused >= 32 && paused <= 128, `${paused}`);
  assert.ok(foresight.reserve > 0);
  foresight.learn(30, 3, 0);
  assert.ok(foresight.tries());
});

test('a layer without slots is never guessed for', () => {
  const foresight = new Foresight(0);
  for (let token = 0; token < 1000; token++) assert.ok(!foresight.tries());
  assert.equal(foresight.reserve, 0);
});
