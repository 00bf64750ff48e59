/** A head of which the first rows alone are used. */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Model } from '../../src/engine/model.ts';
import { Runtime } from '../../src/engine/runtime.ts';
import { rowsOf } from '../../src/flash/manifest.ts';
import { narrowHead } from '../../src/flash/narrow-head.ts';
import { headTensor, tensorNames } from '../../src/models/spec.ts';
import { converted } from '../engine/support.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
let dir = '';
before(async () => {
  dir = await converted(root, storiesOpt, { dtype: 'q8' });
});

/** Logits (ids, vocab) of a text, by the model with so many rows of its head. */
async function logitsOf(ids: readonly number[], headRows?: number) {
  const model = await Model.open(dir, headRows === undefined ? {} : { headRows });
  try {
    const request = { budget: 512 * 2 ** 20, context: ids.length, logits: 'all' as const };
    const runtime = await Runtime.open(model, { ...request, threads: 1 });
    try {
      const logits = await runtime.sequence().logits(ids);
      return { logits, vocabSize: model.manifest.spec.vocabSize, plan: runtime.plan };
    } finally {
      await runtime.close();
    }
  } finally {
    model.close();
  }
}

test('its logits are the first of all, and every token can still be read', async () => {
  const model = await Model.open(dir);
  const { rows } = rowsOf(model.files.tensor(tensorNames.tokens));
  model.close();
  const ids = [2, 17, rows - 1, 9, rows >> 1];
  const whole = await logitsOf(ids);
  const narrow = await logitsOf(ids, 300);
  assert.equal(whole.vocabSize, rows);
  assert.ok(narrow.vocabSize >= 300 && narrow.vocabSize < rows, `${narrow.vocabSize}`);
  for (const i of ids.keys()) {
    const first = i * whole.vocabSize;
    assert.deepEqual(
      narrow.logits.subarray(i * narrow.vocabSize, (i + 1) * narrow.vocabSize),
      whole.logits.subarray(first, first + narrow.vocabSize),
    );
  }
  assert.ok(narrow.plan.usedBytes < whole.plan.usedBytes);
});

test('it ends with a checksummed block; as many rows as there are change nothing', async () => {
  const model = await Model.open(dir);
  const { manifest } = model;
  model.close();
  const head = manifest.tensors.get(headTensor(manifest.spec));
  assert.ok(head !== undefined);
  const { rows, rowBytes } = rowsOf(head);
  assert.equal(narrowHead(manifest, rows), manifest);
  assert.equal(narrowHead(manifest, Number.POSITIVE_INFINITY), manifest);
  const narrowed = narrowHead(manifest, head.rowsPerBlock + 1);
  const narrow = narrowed.tensors.get(headTensor(narrowed.spec));
  assert.equal(narrow?.bytes, 2 * head.rowsPerBlock * rowBytes);
  assert.deepEqual(narrow?.checksums, head.checksums.subarray(0, 2));
  assert.equal(manifest.tensors.get(headTensor(manifest.spec)), head);
});
