/** `--draft` through the command line: the same text, the figures, one budget. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { parseResults, request } from '../batch/support.ts';
import { contraryStories } from '../support/checkpoint.ts';
import { assertRefused, assertWrongUsage, runCli, runCliJson } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const model = join(root.path, 'stories.flash');
const small = join(root.path, 'small.flash');
const budget = ['--dram-budget', '256MiB'];

before(async () => {
  await convert(storiesOpt, model);
  await convert(storiesOpt, small, '--dtype', 'q4');
});

interface Generated {
  readonly tokens: readonly number[];
  readonly stats: {
    readonly acceptance?: number;
    readonly tokensPerPass?: number;
    readonly draftRetired?: boolean;
    readonly peakRss: number;
    readonly dramBudget: number;
  };
}

interface Planned {
  readonly items: readonly { readonly id: string; readonly bytes: number }[];
  readonly drafts:
    | readonly { readonly acceptance: number; readonly tokensPerPass: number }[]
    | null;
}

describe('--draft', { concurrency: 2 }, () => {
  it('generates what is generated without it', async () => {
    const args = [
      'generate',
      model,
      '--prompt',
      'Once upon a time',
      '--max-tokens',
      '60',
      ...budget,
    ];
    for (const flags of [
      ['--temperature', '0'],
      ['--seed', '3'],
    ]) {
      const alone = await runCliJson<Generated>([...args, ...flags]);
      assert.equal(alone.stats.acceptance, undefined);
      for (const draft of ['lookup', small]) {
        const { tokens, stats } = await runCliJson<Generated>([
          ...args,
          ...flags,
          '--draft',
          draft,
        ]);
        assert.deepEqual(tokens, alone.tokens, draft);
        const { acceptance = -1, tokensPerPass = 0 } = stats;
        assert.ok(acceptance >= 0 && acceptance <= 1 && tokensPerPass >= 1);
        assert.ok(stats.peakRss <= stats.dramBudget);
      }
    }
  });

  it('is closed where it does not pay, and its memory holds weights of the model', async () => {
    const contrary = join(root.path, 'contrary.flash');
    await convert(contraryStories(root.directory()), contrary);
    const prompt = ['--prompt', 'Once upon a time', '--ignore-eos', '--max-tokens', '240'];
    const draft = ['--draft', contrary, '--draft-tokens', '3'];
    const args = ['generate', model, ...prompt, '--temperature', '0'];
    const refused = await runCli([...args, ...draft, '--dram-budget', '1MiB']);
    const floor = Number(/Give at least (\d+)MiB/.exec(refused.stderr)?.[1]);
    const alone = await runCliJson<Generated>([...args, ...budget]);
    const given = ['--dram-budget', `${floor + 1}MiB`];
    const { stdout, stderr } = await runCli([...args, ...draft, ...given, '--json']);
    const { tokens, stats } = JSON.parse(stdout) as Generated;
    assert.deepEqual(tokens, alone.tokens);
    assert.equal(stats.draftRetired, true);
    assert.ok(stats.peakRss <= stats.dramBudget, `${stats.peakRss} of ${stats.dramBudget}`);
    const note = /too seldom \(1\.0 tokens per pass\): closed, its \d[\d.]* MiB hold weights/g;
    assert.equal(stderr.match(note)?.length, 1, stderr);
  });

  it('answers a batch with the texts without it', async () => {
    const dir = root.directory();
    const input = join(dir, 'in.jsonl');
    const body = { max_tokens: 30, temperature: 0 };
    const lines = ['Once upon a time', 'The dog', 'Lily had a'].map((prompt, i) =>
      request(`line-${i}`, prompt, i === 1 ? { ...body, temperature: 0.8, seed: 4 } : body),
    );
    writeFileSync(input, lines.map((line) => `${line}\n`).join(''));
    const texts = async (name: string, ...flags: string[]) => {
      const output = join(dir, name);
      const summary = await runCliJson<{ tokensPerPass?: number }>([
        ...['batch', model, input, output, ...budget, ...flags],
      ]);
      const results = parseResults(readFileSync(output, 'utf8'));
      const said = results.map(({ custom_id, response }) => [
        custom_id,
        response?.body.choices?.[0]?.text,
      ]);
      return { said: said.sort(), tokensPerPass: summary.tokensPerPass };
    };
    const alone = await texts('alone.jsonl');
    const drafted = await texts('drafted.jsonl', '--draft', 'lookup');
    assert.deepEqual(drafted.said, alone.said);
    assert.ok(alone.tokensPerPass === undefined && (drafted.tokensPerPass ?? 0) >= 1);
  });

  it('is planned with what it takes', async () => {
    const args = ['plan', model, '--dram-budget', '256MiB'];
    const draftOf = ({ items }: Planned) => items.find(({ id }) => id === 'draft')?.bytes ?? 0;
    const alone = await runCliJson<Planned>(args);
    assert.ok(draftOf(alone) === 0 && alone.drafts === null);
    const lookup = await runCliJson<Planned>([...args, '--draft', 'lookup', '--draft-tokens', '3']);
    assert.ok(draftOf(lookup) > 0 && draftOf(lookup) < 2 ** 20);
    assert.deepEqual(
      lookup.drafts?.map(({ tokensPerPass }) => tokensPerPass.toFixed(3)),
      ['1.875', '2.533', '3.439'],
    );
    assert.ok(draftOf(await runCliJson<Planned>([...args, '--draft', small])) > 2 ** 20);
  });

  it('is refused where it is no model, or its number of tokens none', async () => {
    const args = ['generate', model, ...budget, '--prompt', 'a', '--draft'];
    const nothing = await runCli([...args, join(root.path, 'nothing')]);
    assertRefused(nothing, [/nothing: --draft: no such directory\. Give lookup, or/]);
    const budgeted = await runCli([...args, 'lookup', '--draft-budget', '1MiB']);
    assertRefused(budgeted, [/--draft-budget applies to draft models/]);
    const alone = await runCli([...args.slice(0, -1), '--draft-tokens', '3']);
    assertRefused(alone, [/--draft-tokens applies to drafts\. Add --draft/]);
    const none = await runCli([...args, 'lookup', '--draft-tokens', '0']);
    assertWrongUsage(none, [/a whole number from 1 to 63/]);
  });
});
