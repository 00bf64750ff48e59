/** A model that was written is opened before it takes its place. */

import assert from 'node:assert/strict';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, beforeEach, describe, it } from 'node:test';
import { convertCheckpoint } from '../../src/convert/convert.ts';
import { checkWritten, writeManifest } from '../../src/convert/written.ts';
import { type Manifest, manifestFile } from '../../src/flash/manifest.ts';
import { readManifest } from '../../src/flash/manifest-reader.ts';
import type { ModelSpec } from '../../src/models/spec.ts';
import { familyFixture } from '../support/fixtures.ts';
import { copyModel } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const whole = join(root.path, 'whole');

describe('a model that was written', () => {
  let dir = '';

  before(async () => {
    await convertCheckpoint({
      checkpoint: familyFixture('llama'),
      output: whole,
      dramBudget: 2 ** 31, // the test process itself is larger than the default foresees
    });
  });

  beforeEach(() => {
    dir = copyModel(whole, join(root.directory(), 'model'));
  });

  /** Writes the manifest again, otherwise. */
  async function rewrite(change: (manifest: Manifest) => Manifest): Promise<void> {
    const manifest = await readManifest(dir);
    rmSync(join(dir, manifestFile));
    await writeManifest(dir, change(manifest));
  }

  const fault = { name: 'FlashError', exitCode: 1, line: /cannot be opened.*a bug in flashllm/ };

  it('is opened', async () => {
    await rewrite((manifest) => manifest);
    await checkWritten(dir);
  });

  it('is not taken when its manifest cannot be read back', async () => {
    const broken = { activation: 'constructor' } as unknown as ModelSpec['ffn'];
    await rewrite((manifest) => {
      const { spec } = manifest;
      return { ...manifest, spec: { ...spec, ffn: { ...spec.ffn, ...broken } } };
    });
    await assert.rejects(checkWritten(dir), fault);
  });

  it('is not taken when a size has no number', async () => {
    await rewrite((manifest) => ({
      ...manifest,
      spec: { ...manifest.spec, hiddenSize: Number.NaN },
    }));
    await assert.rejects(checkWritten(dir), fault);
  });

  it('is not taken when a file is missing, short, or another one', async () => {
    truncateSync(join(dir, 'bundles.safetensors'), 4096);
    await assert.rejects(checkWritten(dir), fault);
    dir = copyModel(whole, join(root.directory(), 'model'));
    rmSync(join(dir, 'tokenizer.json'));
    await assert.rejects(checkWritten(dir), fault);
    dir = copyModel(whole, join(root.directory(), 'model'));
    writeFileSync(join(dir, 'config.json'), '{}');
    await assert.rejects(checkWritten(dir), fault);
  });
});
