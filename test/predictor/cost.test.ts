/** What decides between rows and trained factors. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultProfile } from '../../src/flash/device-profile.ts';
import { predictorMs, rowsSettle, scaled, trainingMs } from '../../src/predictor/cost.ts';

const neurons = 4864;
const hidden = 896;
const q4Row = (hidden / 32) * 18;

/** Shares that fall off as those of real models do, 6% on average. */
const rowsFrequency = Float32Array.from({ length: neurons }, (_, i) => 0.3 * Math.exp(-i / 1000));

const rowsMs = (bundleBytes: number) =>
  predictorMs(
    { bytes: neurons * q4Row, frequency: rowsFrequency },
    { neurons, bundleBytes },
    defaultProfile,
  );
const factorsMs = (bundleBytes: number, times: number) =>
  predictorMs(
    { bytes: (256 / 32) * 18 * (neurons + hidden), frequency: scaled(rowsFrequency, times) },
    { neurons, bundleBytes },
    defaultProfile,
  );
const qwen = {
  ...{ layers: 24, tokens: 28_000, epochs: 3, hidden, neurons, rank: 256 },
  layerWeights: 15e6,
};

test('rows are made where factors name three times as many neurons, whatever a bundle takes', () => {
  for (const bundleBytes of [1536, 3072, 5632]) {
    const [rows, factors] = [rowsMs(bundleBytes), factorsMs(bundleBytes, 3)];
    assert.ok(rows < 1.02 * factors, `${bundleBytes}: rows ${rows}, factors ${factors}`);
    assert.ok(rowsSettle(rows, factors, trainingMs(qwen)), `${bundleBytes}`);
  }
});

test('naming everything costs a pass over what is not in DRAM, and not less', () => {
  const bundleBytes = 3072;
  const all = { bytes: 0, frequency: new Float32Array(neurons).fill(1) };
  const ms = predictorMs(all, { neurons, bundleBytes }, defaultProfile);
  const reading = (1000 * 0.75 * neurons * bundleBytes) / defaultProfile.bandwidth;
  assert.ok(ms > reading, `${ms} ms, of which reading takes ${reading}`);
});

test('factors that take long to train must save a tenth, others are taken at nearly equal cost', () => {
  const minutes = (n: number) => n * 60_000;
  assert.equal(rowsSettle(1, 1.02, minutes(0.5)), false);
  assert.equal(rowsSettle(0.7, 1, minutes(0.5)), true);
  assert.equal(rowsSettle(1, 0.95, minutes(17)), true);
  assert.equal(rowsSettle(1, 0.8, minutes(17)), false);
});

test('training of a half-billion model is estimated in the minutes that it takes', () => {
  const took = trainingMs(qwen) / 60_000;
  assert.ok(took > 10 && took < 25, `${took} minutes`);
});
