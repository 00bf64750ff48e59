/** Generation with predictors: what they leave out is left out, and nothing else changes a bit. */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { RunRequest } from '../../src/engine/run-request.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { addPredictors, perfectPredictor } from '../support/predictors.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { addRandomPredictors, assertPerfect, assertSameBits } from './sparse-runs.ts';
import { converted } from './support.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
/** Models whose predictors want what fires, and whatever they like. */
let perfect = '';
let random = '';
before(async () => {
  perfect = await converted(root, storiesOpt);
  await addPredictors(perfect, (layer, manifest) => perfectPredictor(perfect, layer, manifest));
  random = await converted(root, storiesOpt);
  await addRandomPredictors(random, 4);
});

test('perfect predictors change nothing but rounding', async () => {
  await assertPerfect(perfect, 0.5);
});

test('the result is the same to the bit at every budget, policy, chunk and thread count', async () => {
  let arenas = 0;
  for (const model of [perfect, random]) {
    const variants: [number, Partial<RunRequest>][] = [
      [7 * MIB, {}],
      [5.4 * MIB, {}],
      [6 * MIB, { window: 1 }],
      [6 * MIB, { window: 5 }],
      [6 * MIB, { window: Number.POSITIVE_INFINITY }],
      [5.4 * MIB, { chunk: 5 }],
      [40 * MIB, { threads: 2 }],
      [29 * MIB, { threads: 2, chunk: 8 }],
      [8 * MIB, { memoryLimit: 5.6 * MIB, chunk: 8 }],
      [6.4 * MIB, { memoryLimit: 5.6 * MIB, chunk: 8 }],
    ];
    const counts = await assertSameBits(model, variants);
    assert.ok(counts.partial >= 4, `${counts.partial} variants read neurons while decoding`);
    arenas += counts.arenas;
  }
  assert.ok(arenas >= 1, `${arenas} variants used several memories`);
});
