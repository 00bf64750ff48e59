/** Random checkpoints are as sparse as they were asked to be. */

import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { randomOpt } from '../../scripts/checkpoint/random-model.ts';
import { writeCheckpoint } from '../../scripts/checkpoint/writer.ts';
import { converted, withSequence } from '../engine/support.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();

for (const [sparsity, rank] of [[0.5], [0.9], [0.97], [0.95, 64]] as const) {
  test(`OPT, ${100 * sparsity}% sparse${rank === undefined ? '' : `, rank ${rank}`}`, async () => {
    const geometry = { hidden: 256, layers: 3, heads: 4, ffn: 1024, vocab: 2048, positions: 64 };
    const { config, tensors } = randomOpt(geometry, { sparsity, rank });
    const dir = root.directory();
    await writeCheckpoint(dir, tensors);
    writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
    for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
      copyFileSync(join(storiesOpt, file), join(dir, file));
    }
    const model = await converted(root, dir);
    const found = await withSequence(model, 64 * 2 ** 20, { context: 64 }, async (sequence) => {
      const run = sequence.runtime.stats.begin();
      await sequence.forward(Array.from({ length: 60 }, (_, i) => 7 * i + 5));
      return run.snapshot(60, 0).ffnSparsity;
    });
    assert.ok(Math.abs(found - sparsity) < 0.01, `${found}`);
  });
}
