/** `generate`: where the prompt comes from, what ends the text, and what is written where. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { writeRandomOpt } from '../support/checkpoint.ts';
import { launcher, runCli, runCliJson, runCliWell, startCli } from '../support/cli.ts';
import { references, storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

interface Generated {
  readonly text: string;
  readonly promptTokens: readonly number[];
  readonly tokens: readonly number[];
  readonly finishReason: string;
  readonly stats: Readonly<Record<string, unknown>>;
}

const root = temporaryRoot();
const model = join(root.path, 'model');
/** Large enough to be caught in the middle; what it says means nothing. */
const slowModel = join(root.path, 'slow');
const parallel = { concurrency: availableParallelism() };
const budget = ['--dram-budget', '512MiB'];
const story = ['--prompt', 'Once upon a time'];
const greedy = ['--temperature', '0', '--exact', ...budget];

const text = async (...flags: string[]) =>
  (await runCliWell(['generate', model, ...greedy, ...flags])).stdout;
const json = (...flags: string[]) =>
  runCliJson<Generated>(['generate', model, ...greedy, ...flags]);

before(async () => {
  const checkpoint = join(root.path, 'checkpoint');
  mkdirSync(checkpoint);
  writeRandomOpt(checkpoint, { hidden: 512, neurons: 2048, layers: 8 });
  await Promise.all([convert(storiesOpt, model), convert(checkpoint, slowModel)]);
});

describe('the prompt', parallel, () => {
  it('is the same from a flag, from a file and from stdin', async () => {
    const prompt = '\n Lily said, "Café 😀"\n\n';
    const file = join(root.path, 'prompt.txt');
    writeFileSync(file, prompt);
    const few = ['--max-tokens', '8'];
    const found = await Promise.all([
      json('--prompt', prompt, ...few),
      json('--prompt-file', file, ...few),
      runCliJson<Generated>(['generate', model, ...greedy, ...few], { input: prompt }),
    ]);
    const [{ promptTokens, tokens }, ...others] = found;
    assert.equal(promptTokens[0], 2, 'BOS first');
    for (const other of others) {
      assert.deepEqual(other.promptTokens, promptTokens);
      assert.deepEqual(other.tokens, tokens);
    }
  });

  it('may be empty: then BOS alone begins the text', async () => {
    const few = ['--max-tokens', '4'];
    const { promptTokens, tokens } = await json('--prompt', '', ...few);
    assert.deepEqual(promptTokens, [2]);
    assert.equal(tokens.length, 4);
    const piped = await runCliJson<Generated>(['generate', model, ...greedy, ...few]);
    assert.deepEqual(piped.tokens, tokens);
  });
});

describe('the text', parallel, () => {
  it('is all that stdout holds', async () => {
    const flags = [...story, '--max-tokens', '20'];
    const [{ text: expected }, shown] = await Promise.all([
      json(...flags),
      runCliWell(['generate', model, ...greedy, ...flags]),
    ]);
    assert.ok(expected.length > 20);
    assert.equal(shown.stdout, `${expected}\n`);
    assert.equal(shown.stderr, '');
  });

  it('comes with statistics on stderr when asked', async () => {
    const args = ['generate', model, ...greedy, ...story, '--max-tokens', '20', '--stats'];
    const { stdout, stderr } = await runCliWell(args);
    assert.equal(stdout, await text(...story, '--max-tokens', '20'));
    assert.match(stderr, /^prompt +5 tokens in /m);
    assert.match(stderr, /^generated +20 tokens in .* tokens\/s$/m);
    assert.match(stderr, /^flash +2\.\d+ MiB in \d+ reads/m);
    assert.match(stderr, /^memory +peak \d+(\.\d+)? MiB of a budget of 512 MiB$/m);
  });

  it('is said to be exact where there are no predictors', async () => {
    const args = [
      'generate',
      model,
      '--temperature',
      '0',
      ...budget,
      ...story,
      '--max-tokens',
      '1',
    ];
    const { stderr } = await runCliWell(args);
    assert.equal(stderr, 'no predictors: every neuron is computed, the output is exact\n');
  });

  it('is repeated with the same seed, and another with another', async () => {
    const sample = (seed: string) =>
      runCliWell([
        ...['generate', model, ...story, ...budget],
        '--max-tokens',
        '40',
        '--seed',
        seed,
      ]);
    const [first, again, other] = await Promise.all([sample('7'), sample('7'), sample('8')]);
    assert.equal(again.stdout, first.stdout);
    assert.notEqual(other.stdout, first.stdout);
  });

  it('holds no escape codes and no spinner, with and without NO_COLOR', async () => {
    const args = ['generate', model, ...story, ...budget, '--max-tokens', '3', '--stats'];
    for (const env of [{}, { NO_COLOR: '1' }]) {
      const { stdout, stderr } = await runCliWell(args, { env });
      for (const code of ['\u001b', '\r']) assert.ok(!(stdout + stderr).includes(code));
    }
  });
});

describe('the end of the text', parallel, () => {
  it('comes after --max-tokens', async () => {
    for (const count of [0, 1]) {
      const { tokens, text: said, finishReason } = await json(...story, '--max-tokens', `${count}`);
      assert.equal(tokens.length, count);
      assert.equal(said, count === 0 ? '' : ',');
      assert.equal(finishReason, 'length');
    }
  });

  it('comes at EOS, which is not part of it', async () => {
    const { prompts } = JSON.parse(readFileSync(join(references, 'prompts.json'), 'utf8')) as {
      prompts: { text: string; greedy_ids: number[] }[];
    };
    const { text: prompt, greedy_ids: ids } = prompts.find((p) => p.greedy_ids[1] === 2)!;
    const found = await json('--prompt', prompt);
    assert.deepEqual(found.tokens, ids.slice(0, 1));
    assert.equal(found.finishReason, 'eos');
    assert.ok(!found.text.includes('</s>'));
  });

  it('comes before a --stop text, whichever is met first', async () => {
    const whole = (await text(...story, '--max-tokens', '30')).trimEnd();
    const sentence = whole.indexOf('.');
    assert.ok(sentence > 0);
    const found = await json(...story, '--max-tokens', '30', '--stop', 'zebra', '--stop', '.');
    assert.equal(found.text, whole.slice(0, sentence));
    assert.equal(found.finishReason, 'stop');
    const shown = await text(...story, '--max-tokens', '30', '--stop', whole.slice(3, 12));
    assert.equal(shown, `${whole.slice(0, 3)}\n`);
  });

  it('comes when the context is full, and says so', async () => {
    const prompt = 'the '.repeat(511 - 8);
    const args = ['generate', model, ...greedy, '--prompt', prompt, '--max-tokens', '100'];
    const { promptTokens, tokens, finishReason } = await runCliJson<Generated>(args);
    // The last token needs no position: it is not fed back.
    assert.equal(promptTokens.length + tokens.length, 513);
    assert.equal(finishReason, 'context');
    const room = tokens.length;
    const { stderr } = await runCliWell(args);
    assert.match(
      stderr,
      new RegExp(`^the context of 512 positions has room for only ${room} `, 'm'),
    );
    assert.match(stderr, new RegExp(`^stopped: the context is full after ${room} tokens$`, 'm'));
  });
});

describe('--json', parallel, () => {
  it('prints exactly the keys that programs rely on', async () => {
    const found = await json(...story, '--max-tokens', '5');
    const keys = ['text', 'promptTokens', 'tokens', 'finishReason', 'stats'];
    assert.deepEqual(Object.keys(found).sort(), [...keys].sort());
    const statistics = [
      ...['promptTokens', 'tokens', 'prefillMs', 'decodeMs', 'tokensPerSecond', 'ioMs', 'memoryMs'],
      ...['computeMs', 'flashBytes', 'flashReads', 'readSizeHistogram', 'flashThroughput'],
      ...['cacheHitRate', 'ffnSparsity', 'dramBudget', 'peakRss', 'directIo', 'threads'],
    ];
    assert.deepEqual(Object.keys(found.stats).sort(), [...statistics].sort());
    assert.equal(found.stats.promptTokens, 5);
    assert.equal(found.stats.tokens, 5);
    assert.equal(found.stats.dramBudget, 512 * 2 ** 20);
    assert.ok((found.stats.peakRss as number) < 512 * 2 ** 20);
    assert.ok((found.stats.flashBytes as number) > 0);
  });
});

describe('an interruption', parallel, () => {
  const endless = ['--temperature', '2', '--top-k', '0', '--top-p', '1', '--seed', '1'];
  const args = ['generate', slowModel, ...budget, ...story, ...endless, '--max-tokens', '500'];

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`by ${signal} ends the text cleanly, with statistics`, async () => {
      const { child, finished } = startCli(args);
      child.stdout?.once('data', () => child.kill(signal));
      const { code, stdout, stderr } = await finished;
      assert.equal(code, signal === 'SIGINT' ? 130 : 143, stderr);
      assert.ok(stdout.length > 1 && stdout.endsWith('\n'));
      assert.match(stderr, /^interrupted$/m);
      assert.match(stderr, /^generated +\d+ tokens in /m);
      assert.match(stderr, /^seed 1$/m);
    });
  }

  it('still prints the JSON object', async () => {
    const { child, finished } = startCli([...args, '--json']);
    // Nothing tells that the first token is there; long after the start, and long before the end.
    child.stderr?.once('data', () => setTimeout(() => child.kill('SIGINT'), 700));
    const { code, stdout, stderr } = await finished;
    assert.equal(code, 130, stderr);
    const found = JSON.parse(stdout) as Generated;
    assert.equal(found.finishReason, 'interrupted');
    assert.ok(found.tokens.length < 500);
  });

  it('by a reader that has seen enough is no error', async () => {
    const { child, finished } = startCli(args);
    finished.catch(() => {}); // stdout is never read to its end
    child.stdout?.once('data', () => child.stdout?.destroy());
    assert.deepEqual(await once(child, 'close'), [0, null]);
  });

  it('by a full disk is told in one line', async (t) => {
    let full: number;
    try {
      full = openSync('/dev/full', 'w');
    } catch {
      t.skip('there is no /dev/full here');
      return;
    }
    const command = [launcher, 'generate', model, ...greedy, ...story, '--max-tokens', '2'];
    const child = spawn(process.execPath, command, { stdio: ['ignore', full, 'pipe'] });
    let stderr = '';
    child.stderr?.on('data', (data) => {
      stderr += data;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    assert.equal(code, 1);
    assert.match(stderr, /^error: cannot write the output: ENOSPC[^\n]*\n$/);
  });
});

describe('a stack trace', () => {
  it('is printed with --debug only', async () => {
    const nowhere = join(root.path, 'nowhere');
    const { stderr } = await runCli(['--debug', 'generate', nowhere, '--prompt', 'x']);
    assert.match(stderr, /^ +at /m);
    assert.match(stderr, /^error: .*no such directory/m);
  });
});
