/** `pull`, and `plan` of what is not here yet. */

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { assertRefused, runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { ggufFixtures, storiesOpt } from '../support/fixtures.ts';
import { commit, FakeHub } from '../support/hub.ts';
import { temporaryRoot } from '../support/temporary.ts';

interface Pulled {
  readonly bytes: number;
  readonly downloadedBytes: number;
  readonly resumedBytes: number;
}

const root = temporaryRoot();
const hub = new FakeHub();
const stories = 'owner/stories';
const options = (cwd: string) => ({ cwd, env: { HF_ENDPOINT: hub.url, HF_TOKEN: 'hf_secret' } });

before(async () => {
  await hub.start();
  hub.publish(stories, storiesOpt);
  const gguf = readFileSync(join(ggufFixtures, 'llama/model.gguf'));
  hub.publish('owner/quants', null, { 'm-Q4_0.gguf': gguf, 'm-Q8_0.gguf': gguf });
});

describe('pull', { concurrency: 2 }, () => {
  it('downloads and converts, and says what came', async () => {
    const cwd = root.directory();
    const { stdout, stderr } = await runCliWell(
      ['pull', stories, '--convert', 'model', '--dtype', 'q8'],
      options(cwd),
    );
    assert.equal(stdout, '');
    assert.match(
      stderr,
      new RegExp(`^pulled owner/stories at ${commit.slice(0, 12)} to stories: [\\d.]+ MiB in`, 'm'),
    );
    assert.match(stderr, /^wrote model: /m);
    assert.doesNotMatch(stderr, /hf_secret/);
    assert.deepEqual(readdirSync(cwd).sort(), ['model', 'stories']);
    assert.ok(existsSync(join(cwd, 'model/flash.json')));
    const again = await runCliJson<Pulled>(['pull', stories], options(cwd));
    assert.equal(again.downloadedBytes, 0);
    assert.equal(again.resumedBytes, again.bytes);
  });

  it('tells with --dry-run what would come, and writes nothing', async () => {
    const cwd = root.directory();
    const args = ['pull', 'owner/quants:Q4_0', '--dry-run'];
    const { stdout, stderr } = await runCliWell(args, options(cwd));
    assert.match(stdout, /^runs +yes, once converted$/m);
    assert.match(stdout, /^m-Q4_0\.gguf +102 KiB$/m);
    assert.match(stderr, new RegExp(`would download 102 KiB at ${commit}; nothing was written`));
    assert.deepEqual(readdirSync(cwd), []);
  });

  it('refuses what it cannot do', async () => {
    const cwd = root.directory();
    const result = await runCli(['pull', 'owner/quants'], options(cwd));
    assertRefused(result, ['has several GGUF models: Q4_0 (102 KiB), Q8_0']);
    const same = await runCli(['pull', stories, '--convert', './stories'], options(cwd));
    assertRefused(same, ['./stories: is the directory that the checkpoint is downloaded to']);
    assert.deepEqual(readdirSync(cwd), []);
  });
});

describe('plan of a model on the hub', () => {
  it('tells what it would be, with what its download takes', async () => {
    const cwd = root.directory();
    const args = ['plan', stories, '--dram-budget', '512MiB', '--context', '64', '--json'];
    const { stdout, stderr } = await runCliWell(args, options(cwd));
    const { download, checkpoint, fitsWhole, items } = JSON.parse(stdout);
    assert.equal(stderr, 'there is no local file or directory owner/stories; asking the hub\n');
    assert.equal(checkpoint.checkpoint, stories);
    assert.equal(checkpoint.runs, true);
    assert.equal(fitsWhole, true);
    assert.ok(items.length > 4);
    assert.equal(download.revision, commit);
    assert.equal(download.files.length, 8);
    assert.ok(download.bytes > 3_000_000);
    assert.deepEqual(readdirSync(cwd), []);
  });
});
