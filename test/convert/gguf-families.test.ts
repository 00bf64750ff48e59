/**
 * GGUF files of families whose tiny checkpoints stand in `fixtures/families`, against what transformers
 * computed from those.
 */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { converted, readFloats, relativeError, withSequence } from '../engine/support.ts';
import { temporaryRoot } from '../support/temporary.ts';

const MIB = 1024 * 1024;
const root = temporaryRoot();
const fixtures = fileURLToPath(new URL('../../fixtures/', import.meta.url));
const files = join(fixtures, 'gguf/families');

interface Reference {
  readonly ids: number[];
  readonly logits: string;
}

for (const file of readdirSync(files)) {
  const checkpoint = join(fixtures, 'families', file.replace(/\.gguf$/, ''));
  test(`${file} is the checkpoint that it was made from`, async () => {
    const json = readFileSync(join(checkpoint, 'reference.json'), 'utf8');
    const { ids, logits } = JSON.parse(json) as Reference;
    const model = await converted(root, join(files, file));
    const request = { context: 40, chunk: 64, logits: 'all' } as const;
    await withSequence(model, 16 * MIB, request, async (sequence) => {
      const error = relativeError(await sequence.logits(ids), readFloats(join(checkpoint, logits)));
      assert.ok(error <= 1e-5, `relative error ${error}`);
    });
  });
}
