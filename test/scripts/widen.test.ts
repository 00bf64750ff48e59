/** The widened model computes what the small one does, at any width, head size and depth. */

import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { type OptGeometry, optConfig } from '../../scripts/checkpoint/opt.ts';
import { readSmall } from '../../scripts/checkpoint/small-model.ts';
import { widen, widenDefaults } from '../../scripts/checkpoint/widen.ts';
import { writeCheckpoint } from '../../scripts/checkpoint/writer.ts';
import { converted, relativeError, withSequence } from '../engine/support.ts';
import { references, storiesOpt } from '../support/fixtures.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const small = readSmall(storiesOpt);
const { prompts } = JSON.parse(readFileSync(join(references, 'prompts.json'), 'utf8')) as {
  prompts: { name: string; ids: number[] }[];
};
const ids = (prompts.find(({ name }) => name === 'long')?.ids ?? []).slice(0, 60);
const exact = { ...widenDefaults, perturbation: 0, epsilon: 0 };

const logitsOf = (model: string) =>
  withSequence(model, 64 * 2 ** 20, { context: 64, logits: 'all' }, (sequence) =>
    sequence.logits(ids),
  );

/** Logits of the small model's tokens, and the highest of the others'. */
async function widened(geometry: OptGeometry, options = exact) {
  const dir = root.directory();
  // Several shards, as large models have them.
  await writeCheckpoint(dir, widen(small, geometry, options), 1e6);
  writeFileSync(join(dir, 'config.json'), JSON.stringify(optConfig(geometry)));
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
    copyFileSync(join(storiesOpt, file), join(dir, file));
  }
  const all = await logitsOf(await converted(root, dir));
  const { vocab } = small.geometry;
  const known = new Float32Array(ids.length * vocab);
  let highest = Number.NEGATIVE_INFINITY;
  for (let p = 0; p < ids.length; p++) {
    const row = all.subarray(p * geometry.vocab, (p + 1) * geometry.vocab);
    known.set(row.subarray(0, vocab), p * vocab);
    highest = Math.max(highest, ...row.subarray(vocab));
  }
  return { known, highest };
}

let expected: Float32Array = new Float32Array();
before(async () => {
  expected = await logitsOf(await converted(root, storiesOpt));
});

const geometries: readonly (readonly [string, Partial<OptGeometry>])[] = [
  ['twice as wide', { hidden: 256, heads: 8, ffn: 1024 }],
  ['larger heads', { hidden: 256, heads: 4, ffn: 512 }],
  ['heads that are no multiple', { hidden: 1280, heads: 16, ffn: 1024 }],
  ['deeper', { hidden: 256, heads: 4, ffn: 1024, layers: 14 }],
];

for (const [name, more] of geometries) {
  test(`${name}: the same logits to f16 rounding`, async () => {
    const geometry = { ...small.geometry, vocab: 2100, positions: 700, ...more };
    const { known, highest } = await widened(geometry);
    const error = relativeError(known, expected);
    assert.ok(error < 0.01, `relative error ${error}`);
    assert.ok(highest < -20, `a token that does not exist has a logit of ${highest}`);
  });
}

test('noise larger than any weight does not grow from layer to layer', async () => {
  const geometry = { ...small.geometry, vocab: 2100, hidden: 512, heads: 8, ffn: 1024, layers: 32 };
  const { known } = await widened(geometry, { ...exact, epsilon: 0.002, noise: 0.3 });
  const error = relativeError(known, expected);
  assert.ok(error < 0.02, `relative error ${error}`);
});

test('perturbed copies are near the small model, and no two neurons alike', async () => {
  const geometry = { ...small.geometry, vocab: 2100, hidden: 512, heads: 8, ffn: 4096 };
  const { known } = await widened(geometry, widenDefaults);
  const error = relativeError(known, expected);
  assert.ok(error > 0.001 && error < 0.2, `relative error ${error}`);
  const up = widen(small, geometry).find(({ name }) => name.endsWith('layers.2.fc1.weight'));
  const rows = new Set<string>();
  for (const part of up?.parts() ?? []) rows.add(Buffer.from(part).toString('base64'));
  assert.equal(rows.size, geometry.ffn);
});
