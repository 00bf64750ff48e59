/** Ranks under a total size, whatever the layers turn out to be. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RankCandidate, RankChooser } from '../../src/predictor/rank.ts';
import { Dice } from '../support/random.ts';

const bytesOf = (rank: number) => 1000 + 20 * rank;

/** What ranks are worth to a layer: less and less. */
function curveOf(ranks: readonly number[], need: number): RankCandidate[] {
  return ranks.map((rank) => ({ rank, predicted: 0.02 + 0.5 * Math.exp(-rank / need) }));
}

test('no layer is without a rank, and all of them stay within the total', () => {
  const dice = new Dice(8);
  for (let round = 0; round < 300; round++) {
    const layers = dice.between(1, 12);
    const most = 32 * dice.between(1, 16);
    const totalBytes = layers * bytesOf(32 + dice.between(0, 300));
    const sizes = { totalBytes, layers, bytesOf, step: 32, most };
    const chooser = new RankChooser(sizes);
    let spent = 0;
    for (let layer = 0; layer < layers; layer++) {
      const candidates = chooser.candidates();
      assert.ok(candidates.length > 0);
      assert.ok(candidates.every((rank, i) => rank > (candidates[i - 1] ?? 0) && rank <= most));
      assert.ok((candidates.at(-1) ?? 0) <= chooser.highest());
      const rank = chooser.choose(curveOf(candidates, 10 ** (3 * dice.next())));
      assert.ok(candidates.includes(rank));
      spent += bytesOf(rank);
    }
    assert.ok(spent <= totalBytes, `${spent} of ${totalBytes}`);
  }
});

test('what a layer has no use for is left to those behind it', () => {
  const sizes = { totalBytes: 2 * bytesOf(128), layers: 2, bytesOf, step: 32, most: 512 };
  const chooser = new RankChooser(sizes);
  const flat = chooser.candidates().map((rank) => ({ rank, predicted: 0.1 }));
  assert.equal(chooser.choose(flat), 32);
  assert.ok(chooser.choose(curveOf(chooser.candidates(), 300)) > 128);
});

test('going on behind finished layers chooses what going through would have', () => {
  const sizes = { totalBytes: 6 * bytesOf(100), layers: 6, bytesOf, step: 32, most: 256 };
  const needs = [20, 300, 40, 90, 500, 10];
  const through = new RankChooser(sizes);
  const done: { rank: number; curve: RankCandidate[] }[] = [];
  for (const need of needs) {
    const curve = curveOf(through.candidates(), need);
    const resumed = new RankChooser(sizes);
    for (const layer of done) resumed.spend(layer.rank, layer.curve);
    assert.deepEqual(resumed.candidates(), through.candidates());
    const again = resumed.choose(curve);
    const rank = through.choose(curve);
    assert.equal(again, rank);
    done.push({ rank, curve });
  }
});
