/** What the command line says of a mixture of experts. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { parseResults, request } from '../batch/support.ts';
import { assertRefused, runCli, runCliJson, runCliWell } from '../support/cli.ts';
import { familyFixture } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const model = join(root.path, 'model');
const budget = ['--dram-budget', '512MiB'];

interface Plan {
  readonly experts: {
    readonly count: number;
    readonly perToken: number;
    readonly slots: readonly number[];
    readonly hitRate: number;
    readonly tokensPerSecond: number;
  } | null;
}

before(() => convert(familyFixture('qwen2-moe'), model));

describe('a mixture of experts', { concurrency: 2 }, () => {
  it('is planned with its slots and what is expected of them', async () => {
    const { experts } = await runCliJson<Plan>(['plan', model, ...budget]);
    assert.deepEqual(experts?.slots, [8, 8]);
    assert.deepEqual([experts.count, experts.perToken, experts.hitRate], [8, 3, 1]);
    assert.ok(experts.tokensPerSecond > 0);
    const { stdout } = await runCliWell(['plan', model, ...budget, '--experts', '2']);
    assert.match(stdout, /^expert slots +[\d.]+ KiB$/m);
    assert.match(stdout, /Experts: 8 of 8 in a layer have a slot\. A token uses 2 /);
  });

  it('is inspected as one', async () => {
    const { stdout } = await runCliWell(['inspect', model]);
    assert.match(
      stdout,
      /8 experts of 20 neurons, 3 for each token, 40 shared neurons for every token/,
    );
    assert.match(stdout, /^experts +[\d.]+ KiB/m);
  });

  it('says how many experts a token takes, and that fewer are another model', async () => {
    const args = ['generate', model, '--prompt', 'a', '--max-tokens', '2', ...budget, '--json'];
    const whole = await runCli(args);
    assert.match(whole.stderr, /each token uses 3 of 8 experts, the output is exact/);
    const { stats } = JSON.parse(whole.stdout) as { stats: { expertHitRate: number } };
    assert.equal(stats.expertHitRate, 1);
    const fewer = await runCli([...args, '--experts', '1']);
    assert.match(fewer.stderr, /each token uses 1 of 8 experts instead of 3: the output differs/);
  });

  it('chats, batches and servers with fewer experts say so, and give what generate gives', async () => {
    const dir = root.directory();
    const template = join(dir, 'plain.jinja');
    writeFileSync(template, '{{ bos_token }}{{ messages[0].content }}');
    const [input, output] = [join(dir, 'in.jsonl'), join(dir, 'out.jsonl')];
    writeFileSync(input, `${request('one', 'the', { temperature: 0, max_tokens: 8 })}\n`);
    const greedy = ['--temperature', '0', '--max-tokens', '8'];
    const generate = ['generate', model, '--prompt', 'the', ...greedy, ...budget];
    const chat = ['chat', model, ...greedy, ...budget, '--context', '32', '--template', template];
    const batch = ['batch', model, input, output, ...budget];
    const fewer = ['--experts', '1'];
    const [alone, whole, answered, talked] = await Promise.all([
      runCli([...generate, ...fewer]),
      runCliWell(generate),
      runCli([...batch, ...fewer]),
      runCli([...chat, ...fewer], { input: 'the' }),
    ]);
    const said = /each token uses 1 of 8 experts instead of 3: the output differs/;
    for (const { stderr } of [alone, answered, talked]) assert.match(stderr, said);
    assert.notEqual(alone.stdout, whole.stdout);
    assert.equal(talked.stdout, `${alone.stdout.replace(/\n$/, '')}\n`);
    const [result] = parseResults(readFileSync(output, 'utf8'));
    assert.equal(result?.response?.body.choices?.[0]?.text, alone.stdout.replace(/\n$/, ''));
    assertRefused(await runCli(batch), ['was made with another model', '--experts']);
    const tooMany = await runCli(['serve', model, '--port', '0', '--experts', '4', ...budget]);
    assertRefused(tooMany, ['must be 1 to 3']);
  });

  it('needs no predictors', async () => {
    const args = ['predict-train', model, '--data', join(model, 'config.json'), ...budget];
    assertRefused(await runCli(args), ['is a mixture of experts', 'nothing to predict']);
  });
});
