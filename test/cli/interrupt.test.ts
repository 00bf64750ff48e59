/** Ctrl-C and SIGTERM end every command, whatever it is doing, and leave nothing behind. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertRefused, type CliResult, runCli, startCli } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const codes = { SIGINT: 130, SIGTERM: 143 } as const;
type StopSignal = keyof typeof codes;
const parallel = { concurrency: 2 };

let model = '';
before(async () => {
  model = await convert(storiesOpt, join(root.path, 'plain.flash'));
});

/** A named pipe; null, and the test is skipped, where there are none. */
function namedPipe(t: TestContext): string | null {
  const pipe = join(root.directory(), 'pipe');
  try {
    execFileSync('mkfifo', [pipe], { stdio: 'ignore' });
    return pipe;
  } catch {
    t.skip('there are no named pipes here');
    return null;
  }
}

/**
 * Runs a command that reads `pipe`, gives it `text`, sends `signal` when it has been at work on that
 * for a while, and waits for the end. Without a text, the pipe stays open.
 */
async function stopped(
  pipe: string,
  args: readonly string[],
  signal: StopSignal,
  text?: string,
): Promise<CliResult> {
  const { child, finished } = startCli(args);
  // Opened when somebody reads.
  const writer = await open(pipe, 'w');
  if (text !== undefined) {
    await writer.write(text);
    await writer.close();
  }
  await sleep(700);
  child.kill(signal);
  const result = await finished;
  if (text === undefined) await writer.close();
  return result;
}

describe('a tokenizer whose regular expression backtracks without end', parallel, () => {
  const endless = '(a+)+$';
  const text = `${'a'.repeat(60)}b`;
  let hostile = '';
  let checkpoint = '';
  before(async () => {
    checkpoint = join(root.path, 'checkpoint');
    cpSync(storiesOpt, checkpoint, { recursive: true });
    const file = join(checkpoint, 'tokenizer.json');
    const json = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    const split = {
      type: 'Split',
      pattern: { Regex: endless },
      behavior: 'Isolated',
      invert: false,
    };
    json.pre_tokenizer = { type: 'Sequence', pretokenizers: [split, json.pre_tokenizer] };
    writeFileSync(file, JSON.stringify(json));
    hostile = await convert(checkpoint, join(root.path, 'hostile.flash'));
  });

  const commands: readonly (readonly [signal: StopSignal, name: string, option: string])[] = [
    ['SIGINT', 'generate', '--prompt-file'],
    ['SIGTERM', 'generate', '--prompt-file'],
    ['SIGTERM', 'eval', '--data'],
    ['SIGTERM', 'predict-train', '--data'],
  ];
  for (const [signal, name, option] of commands) {
    it(`is left by ${name} at ${signal}`, async (t) => {
      const pipe = namedPipe(t);
      if (pipe === null) return;
      const result = await stopped(pipe, [name, hostile, option, pipe], signal, text);
      assert.equal(result.code, codes[signal], result.stderr);
      assert.match(result.stderr, /^interrupted$/m);
    });
  }

  it('is named without a signal, too', async () => {
    const result = await runCli(['generate', hostile, '--prompt', text]);
    assertRefused(result, [/tokenizer\.json: its regular expressions were stopped after/]);
  });

  it('that its own tokens do not end is refused by convert', async () => {
    const dir = join(root.directory(), 'checkpoint');
    cpSync(checkpoint, dir, { recursive: true });
    const file = join(dir, 'tokenizer.json');
    const json = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    json.normalizer = { type: 'Replace', pattern: { Regex: endless }, content: 'x' };
    json.added_tokens = [{ id: 2047, content: text, normalized: true }];
    writeFileSync(file, JSON.stringify(json));
    const parent = root.directory();
    const result = await runCli(['convert', dir, join(parent, 'model')]);
    assertRefused(result, [/regular expressions were stopped/]);
    assertEntries(parent, []);
  });
});

describe('a pipe that nobody writes to', parallel, () => {
  const uses: readonly (readonly [name: string, option: string])[] = [
    ['generate', '--prompt-file'],
    ['eval', '--data'],
  ];
  for (const [name, option] of uses) {
    it(`is waited for by ${name} until the signal comes`, async (t) => {
      const pipe = namedPipe(t);
      if (pipe === null) return;
      const result = await stopped(pipe, [name, model, option, pipe], 'SIGTERM');
      assert.equal(result.code, 143, result.stderr);
    });
  }
});
