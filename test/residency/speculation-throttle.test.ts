/** Guesses go on where they are right, and stop for a while where they are not. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SpeculationThrottle } from '../../src/residency/speculation-throttle.ts';

test('while guesses are right, room is kept for what is needed', () => {
  const throttle = new SpeculationThrottle(1000);
  for (let token = 0; token < 100; token++) {
    assert.ok(throttle.open);
    throttle.learn(90, 10, 50);
  }
  assert.ok(throttle.reserve >= 140 && throttle.reserve <= 200, `${throttle.reserve}`);
  for (let token = 0; token < 100; token++) throttle.learn(5000, 0, 0);
  assert.equal(throttle.reserve, 300, 'not more than a share of all');
});

test('guesses that read for nothing pause, keep no room, and are tried again', () => {
  const throttle = new SpeculationThrottle(1000);
  throttle.learn(10, 34, 10);
  assert.equal(throttle.reserve, 0);
  for (let asked = 0; asked < 1000; asked++) assert.ok(!throttle.open, 'asking changes nothing');
  let paused = 0;
  for (; !throttle.open; paused++) throttle.skip();
  assert.ok(paused >= 32 && paused <= 128, `${paused}`);
  assert.ok(throttle.reserve > 0);
  throttle.learn(30, 3, 0);
  assert.ok(throttle.open);
});

test('a layer without slots is never guessed for', () => {
  const throttle = new SpeculationThrottle(0);
  for (let token = 0; token < 1000; token++) {
    assert.ok(!throttle.open);
    throttle.skip();
  }
  assert.equal(throttle.reserve, 0);
});
