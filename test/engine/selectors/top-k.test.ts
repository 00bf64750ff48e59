/** Which of equal values are taken, against what PyTorch took. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { topK } from '../../../src/engine/selectors/top-k.ts';
import { Dice } from '../../support/random.ts';

interface Case {
  /** A digit each. */
  readonly values: string;
  /** Ascending. */
  readonly chosen: number[];
}

const file = new URL('../../../fixtures/routing/top-k.json', import.meta.url);
const ascending = (places: readonly number[]) => [...places].sort((a, b) => a - b);

test('of equal values those are taken that torch.topk takes', () => {
  for (const { values, chosen } of JSON.parse(readFileSync(file, 'utf8')) as Case[]) {
    const found = topK(Array.from(values, Number), chosen.length);
    assert.deepEqual(ascending(found), chosen, values);
  }
});

test('the largest are taken, whatever else there is', () => {
  const dice = new Dice(31);
  for (let round = 0; round < 300; round++) {
    const values = Array.from({ length: dice.between(1, 700) }, () => dice.between(-9, 9));
    const k = dice.between(0, values.length);
    const found = topK(values, k);
    assert.equal(new Set(found).size, k);
    const largest = [...values].sort((a, b) => b - a).slice(0, k);
    const descending = found.map((place) => values[place] ?? Number.NaN).sort((a, b) => b - a);
    assert.deepEqual(descending, largest);
  }
});

test('infinities are values like others', () => {
  const [most, least] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  assert.deepEqual(ascending(topK([least, 1, most, least, 0], 3)), [1, 2, 4]);
});
