/** Neurons read as two scattered halves are those that bundles hold, to the bit. */

import assert from 'node:assert/strict';
import { existsSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import { ModelFiles } from '../../src/flash/model-files.ts';
import { writeUnbundled } from '../../src/flash/unbundled-writer.ts';
import { tensorNames } from '../../src/models/spec.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { Dice } from '../support/random.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();

for (const dtype of ['f32', 'f16', 'q8', 'q4'] as const) {
  test(`${dtype}: single neurons are the same from either file`, async () => {
    const dir = root.directory();
    const output = join(dir, 'model');
    await convertCheckpoint({ checkpoint: storiesOpt, output, dtype, dramBudget: 2 ** 31 });
    const source = await ModelFiles.open(output);
    const path = join(dir, 'unbundled');
    await writeUnbundled(source, path);
    source.close();
    const bundled = await ModelFiles.open(output);
    const unbundled = await ModelFiles.open(output, { unbundled: path });
    const dice = new Dice(7);
    for (const [layer, { neurons, bundleBytes }] of bundled.manifest.layers.entries()) {
      const rows = Array.from({ length: neurons }, (_, i) => i).filter(() => dice.chance(0.2));
      const addresses = rows.map((_, i) => (rows.length - 1 - i) * bundleBytes);
      const read = async (files: ModelFiles) => {
        const memory = new WebAssembly.Memory({ initial: 1 + ((rows.length * bundleBytes) >> 16) });
        await files.requestScattered(
          files.tensor(tensorNames.bundles(layer)),
          { rows, addresses },
          memory,
        ).done;
        return Buffer.from(memory.buffer);
      };
      assert.ok(rows.length > 0 && (await read(bundled)).equals(await read(unbundled)));
    }
    // One neuron: one read from the one file, two far apart from the other.
    const tensor = bundled.tensor(tensorNames.bundles(0));
    const memory = new WebAssembly.Memory({ initial: 1 });
    for (const [files, reads] of [
      [bundled, 1],
      [unbundled, 2],
    ] as const) {
      files.scheduler.profile = { ...files.scheduler.profile, breakEvenGap: 0, processorMs: 0 };
      const before = files.scheduler.stats.snapshot().reads;
      await files.requestScattered(tensor, { rows: [70], addresses: [0] }, memory).done;
      assert.equal(files.scheduler.stats.snapshot().reads - before, reads);
    }
    for (const files of [bundled, unbundled]) files.close();
    truncateSync(path, 4096);
    await assert.rejects(ModelFiles.open(output, { unbundled: path }), /has 4096 bytes, not the/);
  });
}

test('what cannot be written leaves nothing behind', async () => {
  const dir = root.directory();
  const output = join(dir, 'model');
  await convertCheckpoint({ checkpoint: storiesOpt, output, dramBudget: 2 ** 31 });
  const files = await ModelFiles.open(output);
  const path = join(dir, 'unbundled');
  await assert.rejects(writeUnbundled(files, path, undefined, AbortSignal.abort()), /interrupted/);
  assert.equal(existsSync(path), false);
  await assert.rejects(writeUnbundled(files, join(dir, 'no', 'such')), /cannot write/);
  files.close();
});
