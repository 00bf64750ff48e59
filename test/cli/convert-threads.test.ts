/**
 * The thread that helps to convert a large file: with it a model has the same bytes and a refused file the
 * same message, and whatever happens to it, nothing half-written is left.
 */

import assert from 'node:assert/strict';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { writeRandomOpt } from '../support/checkpoint.ts';
import { assertRefused, type CliResult, runCli, runCliWell, startCli } from '../support/cli.ts';
import { ggufFixtures } from '../support/fixtures.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';
import { withTmpfs } from '../support/tmpfs.ts';

const root = temporaryRoot();
const small = join(ggufFixtures, 'qwen2', 'model.gguf');
/** The same model, in a file that is large enough for a thread: what follows the weights is a hole. */
const large = join(root.path, 'large.gguf');
/** A checkpoint of 76 MB. */
const directory = join(root.path, 'checkpoint');
/** What becomes of the small file. */
const expected = join(root.path, 'model');
/** Runs before the command: counts its threads, and does to the first what FAULT says, once it runs. */
const meddler = join(root.path, 'meddler.mjs');

function enlarge(path: string): void {
  truncateSync(path, 65 * 2 ** 20);
}

before(async () => {
  copyFileSync(small, large);
  enlarge(large);
  mkdirSync(directory);
  writeRandomOpt(directory, { hidden: 1024, neurons: 4096, layers: 3 });
  writeFileSync(
    meddler,
    `const { FAULT } = process.env;
    let count = 0;
    process.on('worker', (worker) => {
      count++;
      if (FAULT === 'end') worker.terminate();
      if (FAULT === 'late end') worker.once('message', () => worker.terminate());
      if (FAULT === 'interrupt') worker.once('online', () => process.kill(process.pid, 'SIGINT'));
      if (FAULT === 'late interrupt') worker.once('message', () => process.kill(process.pid, 'SIGINT'));
    });
    process.on('exit', () => process.stderr.write('threads: ' + count + '\\n'));`,
  );
  await convert(small, expected);
});

/** Converts; the last line on stderr is the number of threads that were started. */
function convert(
  file: string,
  output: string,
  { fault = '', flags = [] }: { fault?: string; flags?: readonly string[] } = {},
): Promise<CliResult> {
  const preload = `--import=${pathToFileURL(meddler).href}`;
  return runCli(['convert', file, output, ...flags], {
    env: { NODE_OPTIONS: preload, FAULT: fault },
  });
}

function assertConverted({ code, stderr }: CliResult, model: string, threads: number): void {
  assert.equal(code, 0, stderr);
  assert.match(stderr, new RegExp(`threads: ${threads}\\n$`));
  assertEntries(model, readdirSync(expected));
  for (const name of readdirSync(expected)) {
    const same = readFileSync(join(model, name)).equals(readFileSync(join(expected, name)));
    assert.ok(same, `${name} differs`);
  }
}

describe('a large file', { skip: availableParallelism() < 2, concurrency: 2 }, () => {
  it('becomes the same model with a thread', async () => {
    const output = join(root.directory(), 'model');
    assertConverted(await convert(large, output), output, 1);
  });

  it('becomes the same model without a thread where the budget has no room for it', async () => {
    const output = join(root.directory(), 'model');
    const flags = ['--dram-budget', '192MiB'];
    assertConverted(await convert(large, output, { flags }), output, 0);
  });

  it('is refused with the same message if its merges are not made of its tokens', async () => {
    const bytes = readFileSync(small);
    const key = 'tokenizer.ggml.merges';
    // Behind the types of the value and of its elements, their count, and the length of the first.
    bytes[bytes.indexOf(key) + key.length + 4 + 4 + 8 + 8] = 0x01;
    const messages: string[] = [];
    for (const change of [() => {}, enlarge]) {
      const dir = root.directory();
      const file = join(dir, 'bad.gguf');
      writeFileSync(file, bytes);
      change(file);
      const { code, stderr } = await convert(file, join(dir, 'model'));
      assert.equal(code, 2, stderr);
      messages.push(stderr.replaceAll(dir, '').replace(/threads: \d\n$/, ''));
      assertEntries(dir, ['bad.gguf']);
    }
    const [first = '', second] = messages;
    assert.match(first, /^error: \/bad\.gguf: line 1 .*The file's tokenizer is incomplete\.\n$/);
    assert.equal(second, first);
  });

  for (const fault of ['end', 'late end']) {
    it(`leaves nothing if the thread ends: ${fault}`, async () => {
      const dir = root.directory();
      const { code, stderr } = await convert(large, join(dir, 'model'), { fault });
      assert.equal(code, 1, stderr);
      assert.match(stderr, /^error: the thread that helps the conversion failed: it ended\n/);
      assertEntries(dir, []);
    });
  }

  for (const fault of ['interrupt', 'late interrupt']) {
    it(`leaves nothing when it is interrupted while the thread runs: ${fault}`, async () => {
      const dir = root.directory();
      const { code, stderr } = await convert(large, join(dir, 'model'), { fault });
      assert.equal(code, 130, stderr);
      assert.match(stderr, /^interrupted\n/);
      assertEntries(dir, []);
    });
  }

  it('has its checksums from the thread, if it is a directory; they are right', async () => {
    const output = join(root.directory(), 'model');
    const { code, stderr } = await convert(directory, output);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /threads: 1\n$/);
    await runCliWell(['inspect', output, '--verify']);
  });

  it('leaves nothing if the thread ends while it computes checksums', async () => {
    const dir = root.directory();
    const { code, stderr } = await convert(directory, join(dir, 'model'), { fault: 'late end' });
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^error: the thread that helps the conversion failed: it ended\n/);
    assertEntries(dir, []);
  });

  it('leaves nothing that the next run does not remove when it is killed', async () => {
    for (const moment of ['resident.safetensors', 'tokenizer.json', 'flash.json']) {
      const dir = root.directory();
      const output = join(dir, 'model');
      const { child, finished } = startCli(['convert', large, output]);
      const hasCome = () =>
        readdirSync(dir, { recursive: true }).some((name) => String(name).endsWith(moment));
      while (child.exitCode === null && !hasCome()) await sleep(1);
      child.kill('SIGKILL');
      await finished;
      assertConverted(await convert(large, output, { flags: ['--force'] }), output, 1);
      assertEntries(dir, ['model']);
    }
  });

  it('leaves nothing if the disk is full when the side files come', async (t) => {
    const dir = root.directory();
    // The weights have 132 KiB, the largest side files 6 KiB each.
    await withTmpfs(t, dir, 'size=140k', async () => {
      const result = await runCli(['convert', large, join(dir, 'model')]);
      assertRefused(result, ['the disk is full; nothing was left behind', 'Free some space']);
      assertEntries(dir, []);
    });
  });
});
