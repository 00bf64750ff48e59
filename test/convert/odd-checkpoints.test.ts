/** What becomes of odd directories; `inspect` and `convert` agree about every one of them. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { type ConvertReport, convertCheckpoint } from '../../src/convert/convert.ts';
import { inspectCheckpoint } from '../../src/convert/inspect-checkpoint.ts';
import { FlashError } from '../../src/errors.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { makeOdd, plain } from './odd-changes.ts';
import { oddities } from './odd-checkpoints.ts';

const root = temporaryRoot();
// The test process itself is larger than the default budget foresees.
const dramBudget = 2 ** 31;

/** The model, or the line that it was refused with. */
async function convert(checkpoint: string, output: string): Promise<ConvertReport | string> {
  return convertCheckpoint({ checkpoint, output, dramBudget }).catch(lineOf);
}

function lineOf(error: unknown): string {
  if (error instanceof FlashError && error.exitCode === 2) return error.line;
  throw error;
}

/** What a model computes with: its geometry, and the checksums of its weights. */
async function essence(dir: string) {
  const { spec, tensors, layers } = await readManifest(dir);
  const sums = [...tensors.values()].map(({ name, dtype, checksums }) => [name, dtype, checksums]);
  return { spec, layers, sums };
}

describe('odd checkpoints', { concurrency: 1 }, () => {
  let expected: Awaited<ReturnType<typeof essence>>;

  before(async () => {
    const output = join(root.directory(), 'model');
    await convertCheckpoint({ checkpoint: plain, output, dramBudget });
    expected = await essence(output);
  });

  for (const oddity of oddities) {
    it(oddity.name, async () => {
      const { becomes, note = /^$/ } = oddity;
      const dir = makeOdd(join(root.directory(), 'checkpoint'), oddity);
      const output = join(root.directory(), 'model');
      const report = await inspectCheckpoint(dir).catch(lineOf);
      const [problem, notes] =
        typeof report === 'string' ? [report, []] : [report.problems[0], report.notes];
      const converted = await convert(dir, output);

      if (becomes instanceof RegExp) {
        assert.match(problem ?? '', becomes);
        assert.equal(converted, problem);
        assert.equal(existsSync(output), false);
        return;
      }
      assert.equal(problem, undefined);
      assert.notEqual(typeof converted, 'string', String(converted));
      assert.match(notes.join(), note);
      assert.deepEqual(typeof converted === 'string' ? [] : converted.notes, notes);
      const found = await essence(output);
      if (becomes === 'same') assert.deepEqual(found, expected);
      else assert.notDeepEqual(found, expected);
    });
  }
});
