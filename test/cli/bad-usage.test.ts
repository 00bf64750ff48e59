/** Wrong flags, prompts that do not fit, budgets that are too small: refused before anything loads. */

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { assertRefused, assertWrongUsage, runCli } from '../support/cli.ts';
import { storiesOpt, validText } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const model = join(root.path, 'model');
const parallel = { concurrency: availableParallelism() };
const words = (count: number) => 'the '.repeat(count);

before(() => convert(storiesOpt, model));

describe('a command line that is wrong', parallel, () => {
  const generate = ['generate', model, '--prompt', 'x'];
  const wrong: readonly (readonly [string, string[], (string | RegExp)[]])[] = [
    ['an unknown command', ['frobnicate'], ["unknown command 'frobnicate'"]],
    ['an unknown flag', [...generate, '--frob'], ["unknown option '--frob'"]],
    ['a missing argument', ['convert', storiesOpt], ["missing required argument 'model'"]],
    ['an argument too many', ['inspect', model, 'x'], ['too many arguments']],
    ['a missing flag', ['eval', model], ["'--data <file>' not specified"]],
    ['a flag without its value', ['generate', model, '--prompt'], ['argument missing']],
    ['a bad size', [...generate, '--dram-budget', '6x'], ["'6x'", 'not a size', '512MiB']],
    ['a size of nothing', [...generate, '--dram-budget', '0'], ["'0'", 'not a size']],
    ['a huge size', [...generate, '--dram-budget', '99999999TiB'], ['out of range']],
    ['a bad count', [...generate, '--max-tokens', '1.5'], ["'1.5'", 'not a whole number']],
    ['a bad number', [...generate, '--temperature', 'hot'], ["'hot'", 'not a number']],
    ['an empty number', [...generate, '--top-p', ''], ['not a number']],
    [
      'an unknown dtype',
      ['convert', storiesOpt, join(root.path, 'no'), '--dtype', 'q3'],
      ["'q3'", 'auto, f32, f16, bf16'],
    ],
    ['an unknown dtype of keys', [...generate, '--kv-dtype', 'q8'], ["'q8'", 'f32, f16']],
    ['one of eval', ['eval', model, '--data', validText, '--kv-dtype', 'bf16'], ["'bf16'"]],
    ['one of plan', ['plan', model, '--kv-dtype', ''], ["''", 'f32, f16']],
  ];
  for (const [name, args, says] of wrong) {
    it(`is refused for ${name}`, async () => assertWrongUsage(await runCli(args), says));
  }

  const ranges: readonly (readonly [string, string, string])[] = [
    ['--temperature', '-1', 'temperature must be at least 0, not -1'],
    ['--top-p', '1.5', 'top-p must be above 0 and at most 1, not 1.5'],
    ['--min-p', '2', 'min-p must be from 0 to 1, not 2'],
    ['--repetition-penalty', '0', 'repetition penalty must be above 0, not 0'],
  ];
  for (const [flag, value, says] of ranges) {
    it(`is refused for ${flag} ${value}`, async () => {
      assertRefused(await runCli([...generate, flag, value]), [says]);
    });
  }
});

describe('a prompt', parallel, () => {
  it('comes from one place only', async () => {
    const args = ['generate', model, '--prompt', 'x', '--prompt-file', validText];
    assertRefused(await runCli(args), ['either --prompt or --prompt-file, not both']);
  });

  it('comes from a file that can be read', async () => {
    const nowhere = join(root.path, 'nowhere.txt');
    const missing = await runCli(['generate', model, '--prompt-file', nowhere]);
    assertRefused(missing, [`${nowhere}: no such file`]);
    const directory = await runCli(['generate', model, '--prompt-file', model]);
    assertRefused(directory, [`${model}: is a directory, not a file`]);
  });

  it('is not longer than the context', async () => {
    const file = join(root.path, 'long.txt');
    writeFileSync(file, words(600));
    const args = ['generate', model, '--prompt-file', file, '--json'];
    const says = [
      /the prompt has (\d{3}) tokens, the model's context 512/,
      'Shorten it by at least',
    ];
    const result = await runCli(args);
    assertRefused(result, says);
    const [, tokens, excess] =
      /has (\d+) tokens.* by at least (\d+) tokens/.exec(result.stderr) ?? [];
    assert.equal(Number(tokens) - Number(excess), 512);
  });
});

describe('a text to evaluate', parallel, () => {
  it('can be read', async () => {
    const nowhere = join(root.path, 'nowhere.txt');
    const missing = await runCli(['eval', model, '--data', nowhere]);
    assertRefused(missing, [`${nowhere}: no such file`]);
  });

  it('holds something', async () => {
    const file = join(root.path, 'empty.txt');
    writeFileSync(file, '\n\n<|endoftext|>\n\n');
    const args = ['eval', model, '--data', file, '--dram-budget', '512MiB'];
    assertRefused(await runCli(args), ['the text holds no tokens to score']);
  });

  it('is cut into windows that the model has positions for', async () => {
    for (const context of ['0', '1', '513']) {
      const result = await runCli(['eval', model, '--data', validText, '--context', context]);
      assertRefused(result, [`--context must be from 2 to 512, not ${context}`]);
    }
  });
});

describe('a budget below the floor', parallel, () => {
  const runs = [
    ['generate', model, '--prompt', 'Once'],
    ['eval', model, '--data', validText, '--context', '256'],
    ['plan', model],
  ];
  for (const args of runs) {
    it(`is refused by ${args[0]}, item by item`, async () => {
      const result = await runCli([...args, '--dram-budget', '60MiB']);
      assertRefused(result, [
        '--dram-budget 60.0 MiB is below the floor of ',
        /: process [\d.]+ MiB, norms and biases 40\.0 KiB, KV cache \(\d+ positions/,
        /activations .*, row staging .*, stream ring /,
        /Give at least \d+MiB/,
      ]);
      const [floor, ...items] = [...result.stderr.matchAll(/([\d.]+) ([KM])iB/g)]
        .slice(1, 8)
        .map(([, number, unit]) => Number(number) * (unit === 'K' ? 1 / 1024 : 1));
      const sum = items.reduce((total, item) => total + item, 0);
      assert.ok(Math.abs(sum - (floor ?? 0)) < 1.5, `${result.stderr}: the items add up to ${sum}`);
    });
  }

  it('is refused by convert, before anything is written', async () => {
    const parent = root.directory();
    const output = join(parent, 'model');
    for (const flags of [[], ['--dry-run']]) {
      const args = ['convert', storiesOpt, output, '--dram-budget', '60MiB', ...flags];
      assertRefused(await runCli(args), [
        '--dram-budget 60.0 MiB is below the floor of ',
        /: process [\d.]+ MiB, buffers /,
        /Give \d+MiB or more/,
      ]);
    }
    assertEntries(parent, []);
  });

  it('is refused when it is a share of the weights', async () => {
    const says = ['--dram-budget 1.46 MiB is below the floor of '];
    const args = ['convert', storiesOpt, join(root.path, 'no'), '--dram-budget', '50%'];
    assertRefused(await runCli(args), says);
    const generate = ['generate', model, '--prompt', 'x', '--dram-budget', '50%'];
    assertRefused(await runCli(generate), ['--dram-budget 1.46 MiB is below the floor of ']);
  });

  it('is told how much to give, and that is enough', async () => {
    const parent = root.directory();
    const args = ['convert', storiesOpt, join(parent, 'model'), '--dram-budget'];
    const { stderr } = await runCli([...args, '1MiB']);
    const [, advice = ''] = /Give (\d+MiB) or more/.exec(stderr) ?? [];
    const { code, stderr: told } = await runCli([...args, advice]);
    assert.equal(code, 0, told);
  });
});
