/** What is sampled early is what all logits give. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideEarly } from '../../src/engine/early-decision.ts';
import { Random } from '../../src/engine/random.ts';
import { greedy, Sampler } from '../../src/engine/sampler.ts';
import { Dice } from '../support/random.ts';

test('a token told from bounds is the one that all logits give', () => {
  const dice = new Dice(3);
  let decided = 0;
  const rounds = 3000;
  for (let round = 0; round < rounds; round++) {
    const n = dice.between(5, 60);
    const sharp = dice.pick([0.5, 2, 5]);
    const logits = Float32Array.from({ length: n }, () => (dice.next() - 0.5) * 4 * sharp);
    const options = {
      ...greedy,
      temperature: dice.pick([0.3, 0.8, 1.5]),
      topK: dice.between(1, n),
      topP: dice.pick([0.5, 0.95, 1]),
      minP: dice.pick([0, 0, 0.1]),
      seed: round,
    };
    const margin = dice.pick([0.01, 0.3, 1]);
    const ids = Array.from(logits.keys());
    const lower = logits.map((logit) => logit - margin * dice.next());
    const upper = logits.map((logit) => logit + margin * dice.next());
    // The likeliest few are known, and some others.
    const byUpper = [...ids].sort((a, b) => (upper[b] ?? 0) - (upper[a] ?? 0));
    const known = dice.between(0, n);
    for (const id of byUpper.slice(0, known)) {
      lower[id] = logits[id] ?? 0;
      upper[id] = logits[id] ?? 0;
    }
    const shuffled = dice.shuffle(ids);
    const bounded = {
      ids: shuffled,
      lower: Float32Array.from(shuffled, (id) => lower[id] ?? 0),
      upper: Float32Array.from(shuffled, (id) => upper[id] ?? 0),
    };
    const found = decideEarly(bounded, options, new Random(round).next());
    if (known === n) assert.notEqual(found, null, 'all is known');
    if (found === null) continue;
    decided++;
    assert.equal(found, new Sampler(options).sample(logits.slice(), []), `round ${round}`);
  }
  assert.ok(decided > rounds / 3, `${decided} of ${rounds}`);
});

test('nothing is told from bounds that leave the most likely token open', () => {
  const ids = [0, 1];
  const options = { ...greedy, temperature: 1, topK: 2 };
  const open = { ids, lower: Float32Array.of(1, 2), upper: Float32Array.of(3, 2) };
  assert.equal(decideEarly(open, options, 0.1), null);
  const closed = { ids, lower: Float32Array.of(1, 2), upper: Float32Array.of(1, 2) };
  assert.equal(decideEarly(closed, options, 0.1), 1);
});
