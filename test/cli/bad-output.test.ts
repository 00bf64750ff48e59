/** Places that `convert` cannot write to, and what it leaves there: what was there before. */

import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { assertRefused, runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';
import { withTmpfs } from '../support/tmpfs.ts';

const root = temporaryRoot();

describe('an output that exists', () => {
  it('is kept without --force, and replaced with it', async () => {
    const parent = root.directory();
    const model = join(parent, 'model');
    await runCliWell(['convert', storiesOpt, model]);
    const before = readFileSync(join(model, 'flash.json'), 'utf8');

    const refusal = [`${model}: already exists`, 'Use --force to replace it'];
    assertRefused(await runCli(['convert', storiesOpt, model, '--dtype', 'bf16']), refusal);
    assertRefused(await runCli(['convert', storiesOpt, model, '--dry-run']), refusal);
    assert.equal(readFileSync(join(model, 'flash.json'), 'utf8'), before);

    await runCliWell(['convert', storiesOpt, model, '--dtype', 'bf16', '--force']);
    assertEntries(parent, ['model']);
    const { dtypes } = await runCliJson<{ dtypes: unknown }>(['inspect', model]);
    assert.deepEqual(dtypes, { resident: 'bf16', bundles: 'bf16' });
  });

  it('is not replaced when it is a directory of something else', async () => {
    const parent = root.directory();
    const model = join(parent, 'photos');
    mkdirSync(model);
    writeFileSync(join(model, 'cat.jpg'), 'meow');
    for (const flags of [['--force'], ['--force', '--dry-run']]) {
      const result = await runCli(['convert', storiesOpt, model, ...flags]);
      assertRefused(result, [`${model}: exists and is not a flashllm model`, 'another place']);
    }
    assertRefused(await runCli(['convert', storiesOpt, model]), [`${model}: already exists`]);
    assertEntries(parent, ['photos']);
    assert.equal(readFileSync(join(model, 'cat.jpg'), 'utf8'), 'meow');
  });

  it('is not replaced when it is a file', async () => {
    const parent = root.directory();
    const model = join(parent, 'model');
    writeFileSync(model, 'notes');
    const result = await runCli(['convert', storiesOpt, model, '--force']);
    assertRefused(result, [`${model}: exists and is not a directory`]);
    assertEntries(parent, ['model']);
    assert.equal(readFileSync(model, 'utf8'), 'notes');
  });

  it('is no obstacle when it is an empty directory', async () => {
    const parent = root.directory();
    const model = join(parent, 'model');
    mkdirSync(model);
    await runCliWell(['convert', storiesOpt, model]);
    assertEntries(parent, ['model']);
    await runCliWell(['inspect', model, '--verify']);
  });

  it('may not lie in a file', async () => {
    const parent = root.directory();
    writeFileSync(join(parent, 'notes'), '');
    const model = join(parent, 'notes', 'model');
    assertRefused(await runCli(['convert', storiesOpt, model]), [model, 'cannot write']);
    assertEntries(parent, ['notes']);
  });
});

describe('a disk without room', () => {
  it('is refused before anything is written', async (t) => {
    const dir = root.directory();
    await withTmpfs(t, dir, 'size=1m', async () => {
      const model = join(dir, 'model');
      for (const flags of [[], ['--dry-run']]) {
        const result = await runCli(['convert', storiesOpt, model, ...flags]);
        assertRefused(result, [`${model}: the model needs 2.93 MiB`, '1.00 MiB free', 'Free some']);
      }
      assertEntries(dir, []);
    });
  });

  // The first file system has no room for a second file, the second none for the side files.
  const full = [
    { when: 'the second file is created', options: 'size=8m,nr_inodes=3' },
    { when: 'the weights are written', options: 'size=3080k' },
  ];
  for (const { when, options } of full) {
    it(`leaves nothing when it is full as soon as ${when}`, async (t) => {
      const dir = root.directory();
      await withTmpfs(t, dir, options, async () => {
        const result = await runCli(['convert', storiesOpt, join(dir, 'model')]);
        assertRefused(result, ['the disk is full; nothing was left behind', 'Free some space']);
        assertEntries(dir, []);
      });
    });
  }

  it('keeps the model that was to be replaced', async (t) => {
    const dir = root.directory();
    await withTmpfs(t, dir, 'size=6600k', async () => {
      const model = join(dir, 'model');
      await runCliWell(['convert', storiesOpt, model]);
      writeFileSync(join(dir, 'ballast'), Buffer.alloc(300 * 1024));
      const names = readdirSync(model);
      const result = await runCli(['convert', storiesOpt, model, '--force']);
      assertRefused(result, ['the disk is full; nothing was left behind']);
      assertEntries(dir, ['ballast', 'model']);
      assertEntries(model, names);
      await runCliWell(['inspect', model, '--verify']);
    });
  });
});
