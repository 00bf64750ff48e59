/** Where direct I/O is refused, reads go through the page cache, and the statistics say so. */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
let model = '';
before(async () => {
  model = await convert(storiesOpt, `${root.directory()}/model`);
});

interface Output {
  readonly tokens: number[];
  readonly stats: { readonly directIo: boolean; readonly flashBytes: number };
}

test('the same tokens without direct I/O, streamed and resident', async () => {
  const args = (budget: string) => [
    ...['generate', model, '--exact', '--temperature', '0', '--max-tokens', '40'],
    ...['--prompt', 'Once upon a time', '--dram-budget', budget],
  ];
  const refusal = await runCli(args('1MiB'));
  const floor = /Give at least (\d+MiB)/.exec(refusal.stderr)?.[1] ?? '';
  const refused = { env: { FLASHLLM_DIRECT_IO: '0' } };
  for (const budget of [floor, '512MiB']) {
    const buffered = await runCliJson<Output>(args(budget), refused);
    const usual = await runCliJson<Output>(args(budget));
    assert.equal(buffered.stats.directIo, false);
    assert.deepEqual(buffered.tokens, usual.tokens);
    assert.equal(buffered.stats.flashBytes, usual.stats.flashBytes);
  }
});

test('plan says that the page cache comes on top, where it does', async () => {
  const args = ['plan', model, '--dram-budget', '256MiB'];
  const buffered = await runCliWell(args, { env: { FLASHLLM_DIRECT_IO: '0' } });
  assert.match(buffered.stderr, /page cache, as FLASHLLM_DIRECT_IO=0 asks for/);
});
