/** Checkpoints in a folder of fixtures against the logits that transformers computed for them. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { generate } from '../../src/engine/generate.ts';
import { greedy } from '../../src/engine/sampler.ts';
import { type TemporaryRoot, temporaryRoot } from '../support/temporary.ts';
import { converted, readFloats, relativeError, withSequence } from './support.ts';

const MIB = 1024 * 1024;

interface Reference {
  readonly ids: number[];
  readonly greedy: number[];
  readonly logits: string;
}

const fixtures = fileURLToPath(new URL('../../fixtures/', import.meta.url));

/** Makes a test of the checkpoint in `fixtures/<folder>`. */
export function testCheckpoint(folder: string): void {
  const root = temporaryRoot();
  test(folder, () => agreesWithReference(root, join(fixtures, folder)));
}

/** Makes a test of every checkpoint in `fixtures/<folder>`. */
export function testVariants(folder: string): void {
  const root = temporaryRoot();
  const variants = join(fixtures, folder);
  for (const name of readdirSync(variants)) {
    const dir = join(variants, name);
    if (!statSync(dir).isDirectory()) continue;
    test(name, () => agreesWithReference(root, dir));
  }
}

async function agreesWithReference(root: TemporaryRoot, dir: string): Promise<void> {
  const reference = JSON.parse(readFileSync(join(dir, 'reference.json'), 'utf8')) as Reference;
  const expected = readFloats(join(dir, reference.logits));
  const model = await converted(root, dir);
  const context = reference.ids.length + reference.greedy.length;

  for (const chunk of [64, 5, 1]) {
    // Products with blocks of a quantised format are rounded unless they are asked to be exact.
    const request = { context, chunk, logits: 'all', ffn: 'exact' } as const;
    await withSequence(model, 16 * MIB, request, async (sequence) => {
      const error = relativeError(await sequence.logits(reference.ids), expected);
      assert.ok(error <= 1e-5, `chunks of ${chunk}: relative error ${error}`);
    });
  }

  await withSequence(model, 16 * MIB, { context }, async (sequence) => {
    const { tokens } = await generate(sequence, {
      promptIds: reference.ids,
      maxTokens: reference.greedy.length,
      sampling: greedy,
    });
    assert.deepEqual(tokens, reference.greedy);
  });
}
