/** Texts from files, pipes and devices: read as they are, bounded, or refused by name. */

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { assertRefused, runCli, runCliJson, startCli } from '../support/cli.ts';
import { mkfifoSync } from '../support/fifo.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const parallel = { concurrency: 2 };
const budget = ['--dram-budget', '256MiB'];
let model = '';
before(async () => {
  model = await convert(storiesOpt, join(root.path, 'model'));
});

function file(content: string | Uint8Array): string {
  const path = join(root.directory(), 'text');
  writeFileSync(path, content);
  return path;
}

async function promptTokens(args: readonly string[], input?: string): Promise<number[]> {
  const generate = ['generate', model, ...args, '--max-tokens', '1', ...budget];
  const options = input === undefined ? {} : { input };
  return (await runCliJson<{ promptTokens: number[] }>(generate, options)).promptTokens;
}

describe('a prompt', parallel, () => {
  it('is the same from a file, from stdin and from the command line', async () => {
    const text = '\ufeffOnce é 你好 😀\n';
    const expected = await promptTokens(['--prompt', text]);
    assert.deepEqual(await promptTokens(['--prompt-file', file(text)]), expected);
    assert.deepEqual(await promptTokens([], text), expected);
    // BOS, then a byte order mark, which is part of the text.
    assert.deepEqual((await promptTokens(['--prompt', text.slice(1)])).length, expected.length - 3);
  });

  it('may hold zero bytes', async () => {
    const ids = await promptTokens(['--prompt-file', file('a\0b')]);
    assert.equal(ids.length, 4);
  });

  it('that is not UTF-8 is refused', async () => {
    for (const bytes of [[0xff, 0xfe, 0x41], [0x41, 0xc3], Buffer.from('h\xe9', 'latin1')]) {
      const path = file(Uint8Array.from(bytes));
      const result = await runCli(['generate', model, '--prompt-file', path]);
      assertRefused(result, [`${path}: the prompt is not text in UTF-8`]);
    }
  });

  it('that never ends is refused', async (t) => {
    if (!existsSync('/dev/zero')) {
      t.skip('there is no /dev/zero here');
      return;
    }
    const result = await runCli(['generate', model, '--prompt-file', '/dev/zero']);
    assertRefused(result, ["the prompt has more than 512 tokens, the model's context 512"]);
  });
});

describe('a text to evaluate', parallel, () => {
  it('may be one line, and is cut as when it is tokenised whole', async () => {
    const word = 'time';
    const text = `${word} `.repeat(5000).trim();
    const args = ['eval', model, '--data', file(text), '--context', '512', ...budget];
    const { tokens, stats } = await runCliJson<{ tokens: number; stats: { peakRss: number } }>(
      args,
    );
    const one = (await promptTokens(['--prompt', `${word} ${word}`])).length;
    const two = (await promptTokens(['--prompt', `${word} ${word} ${word}`])).length;
    // BOS is no token of the text; each word after the first takes as many.
    assert.equal(tokens, one - 1 + 4998 * (two - one));
    assert.ok(stats.peakRss < 256 * 2 ** 20);
  });

  it('may come from a place whose length nobody knows', async (t) => {
    if (!existsSync('/proc/self/status')) {
      t.skip('there is no /proc here');
      return;
    }
    const args = ['eval', model, '--data', '/proc/self/status', '--context', '64', ...budget];
    assert.ok((await runCliJson<{ tokens: number }>(args)).tokens > 100);
  });

  it('is a file, or training refuses it, too', async () => {
    for (const command of ['eval', 'predict-train']) {
      const result = await runCli([command, model, '--data', model]);
      assertRefused(result, [`${model}: is a directory, not a file`]);
    }
  });
});

const posix = process.platform === 'win32' ? { skip: 'no named pipes among files here' } : {};

describe('a named pipe', { ...parallel, ...posix }, () => {
  function pipe(): string {
    const path = join(root.directory(), 'pipe');
    mkfifoSync(path);
    return path;
  }

  it('that nobody writes to is refused, whatever it is to be', async () => {
    for (const args of [
      ['eval', model, '--data'],
      ['predict-train', model, '--data'],
      ['generate', model, '--prompt-file'],
    ]) {
      const path = pipe();
      assertRefused(await runCli([...args, path, ...budget]), [
        `${path}: is a named pipe that no process opened for writing within 3 s`,
      ]);
    }
  });

  it('is read as the file would be, when somebody opens it later and writes slowly', async () => {
    const path = pipe();
    const args = ['generate', model, '--prompt-file', path, '--max-tokens', '1', '--json'];
    const { finished } = startCli([...args, ...budget]);
    const writer = await open(path, 'w'); // waits for the reader
    for (const part of ['Once upon', ' a time', ', there']) {
      await writer.write(part);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await writer.close();
    const { stdout, code, stderr } = await finished;
    assert.equal(code, 0, stderr);
    assert.deepEqual(
      (JSON.parse(stdout) as { promptTokens: number[] }).promptTokens,
      await promptTokens(['--prompt', 'Once upon a time, there']),
    );
  });
});
