/** Thresholds found in bins against those found by sorting. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addCounts, reportOf, ScoreHistogram } from '../../src/predictor/calibrate.ts';
import { Dice } from '../support/random.ts';

/** Scores of tokens x neurons, of which those that are high fire more often. */
function sample(dice: Dice, tokens: number, neurons: number) {
  const rows = Array.from({ length: tokens }, () => {
    const scores = Float32Array.from({ length: neurons }, () => (dice.next() * 2 - 1) * 40);
    const acts = scores.map((score) => (dice.next() * 60 < score + 10 ? dice.next() * 3 : 0));
    return { scores, acts };
  });
  const importance = Float32Array.from({ length: neurons }, () => dice.next());
  return { rows, importance };
}

test('a threshold keeps the share that is asked for, with as few neurons as can be', () => {
  const dice = new Dice(3);
  for (let round = 0; round < 20; round++) {
    const { rows, importance } = sample(dice, 30, 50);
    const histogram = new ScoreHistogram();
    for (const { scores, acts } of rows) histogram.add(scores, acts, importance);
    const all = rows.flatMap(({ scores, acts }) =>
      Array.from(scores, (score, i) => ({
        score,
        fired: acts[i] !== 0,
        mass: (acts[i] ?? 0) * (importance[i] ?? 0),
      })),
    );
    const massAbove = (threshold: number) =>
      all.reduce((sum, { score, mass }) => sum + (score > threshold ? mass : 0), 0);
    const whole = massAbove(Number.NEGATIVE_INFINITY);
    for (const share of [0.5, 0.9, 0.99, 1]) {
      const threshold = histogram.threshold(share);
      assert.ok(massAbove(threshold) >= share * whole - 1e-6, `${share} at ${threshold}`);
      // Two bins higher it would no longer be kept, beyond what lies in the last bin.
      if (threshold < 31) assert.ok(massAbove(threshold + 2 / 128) < share * whole + 1e-6);

      const counts = histogram.counts(threshold);
      const predicted = all.filter(({ score }) => score > threshold).length;
      assert.ok(Math.abs(counts.predicted - predicted) <= 2, `${counts.predicted} ${predicted}`);
      assert.equal(counts.neurons, all.length);
      assert.equal(counts.fired, all.filter(({ fired }) => fired).length);
    }
  }
});

test('merged histograms are the histogram of both', () => {
  const dice = new Dice(4);
  const { rows, importance } = sample(dice, 40, 20);
  const [whole, one, two] = [new ScoreHistogram(), new ScoreHistogram(), new ScoreHistogram()];
  rows.forEach(({ scores, acts }, i) => {
    whole.add(scores, acts, importance);
    (i % 3 === 0 ? one : two).add(scores, acts, importance);
  });
  const apart = addCounts(one.counts(2), two.counts(2));
  one.merge(two);
  const together = one.counts(2);
  for (const key of Object.keys(apart) as (keyof typeof apart)[]) {
    assert.ok(Math.abs(together[key] - whole.counts(2)[key]) < 1e-6, key);
    assert.ok(Math.abs(apart[key] - together[key]) < 1e-6, key);
  }
  assert.ok(Math.abs(one.threshold(0.9) - whole.threshold(0.9)) < 1e-9);
});

test('a layer where nothing fires needs no neurons, and its report has no holes', () => {
  const histogram = new ScoreHistogram();
  histogram.add(new Float32Array([1, -1]), new Float32Array(2), new Float32Array([1, 1]));
  const report = reportOf(histogram.counts(histogram.threshold(0.99)));
  assert.deepEqual(report, { sparsity: 1, predicted: 0, recall: 1, precision: 1, mass: 1 });
});
