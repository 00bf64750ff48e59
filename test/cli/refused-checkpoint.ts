/** How a test says that `convert` refuses a checkpoint. */

import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { changeConfig, changeTensors, copyStories } from '../support/checkpoint.ts';
import { assertRefused, runCli } from '../support/cli.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';

interface BadCheckpoint {
  readonly name: string;
  /** Makes the checkpoint in an existing, empty directory. */
  readonly make: (dir: string) => unknown;
  /** What the message holds. */
  readonly says: readonly (string | RegExp)[];
  readonly flags?: readonly string[];
}

const root = temporaryRoot();

/** One test for each case: a line that says what is wrong, and no output. */
export function refuses(group: string, cases: readonly BadCheckpoint[]): void {
  describe(group, { concurrency: availableParallelism() }, () => {
    for (const { name, make, says, flags = [] } of cases) {
      it(name, async () => {
        const parent = root.directory();
        const checkpoint = join(parent, 'checkpoint');
        mkdirSync(checkpoint);
        make(checkpoint);
        const result = await runCli(['convert', checkpoint, join(parent, 'model'), ...flags]);
        assertRefused(result, says);
        assertEntries(parent, ['checkpoint']);
      });
    }
  });
}

export const firstDown = 'model.decoder.layers.0.fc2.weight';

/** The fixture with other values in config.json. */
export const config = (changes: Record<string, unknown>) => (dir: string) =>
  changeConfig(copyStories(dir), changes);

/** The fixture with other tensors. */
export const tensors = (change: Parameters<typeof changeTensors>[1]) => (dir: string) =>
  changeTensors(copyStories(dir), change);
