/** `batch` as a process: results, resuming after kill -9, and what is refused. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { chatRequest, parseResults, request } from '../batch/support.ts';
import { chatml } from '../serve/template.ts';
import { assertRefused, assertWrongUsage, runCli, runCliJson, startCli } from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { Dice } from '../support/random.ts';
import { assertEntries, temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const model = join(root.path, 'stories.flash');
const budget = ['--dram-budget', '256MiB'];

interface Summary {
  readonly lines: number;
  readonly answered: number;
  readonly errors: number;
  readonly answeredBefore: number;
  readonly promptTokens: number;
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly flashBytes: number;
  readonly peakRss: number;
}

before(() => convert(storiesOpt, model));

function files(lines: readonly string[]) {
  const dir = root.directory();
  const input = join(dir, 'in.jsonl');
  writeFileSync(input, lines.map((line) => `${line}\n`).join(''));
  return { input, output: join(dir, 'out.jsonl') };
}

const prompts = ['Once upon a time', 'The dog', 'Lily had a', ''];
const many = (count: number, tokens: number) =>
  Array.from({ length: count }, (_, i) =>
    request(`story-${i}`, prompts[i % prompts.length], { max_tokens: tokens }),
  );
const results = (path: string) => parseResults(readFileSync(path, 'utf8'));
const sizeOf = (path: string) => (existsSync(path) ? statSync(path).size : 0);
/** Results without the time, in the order of their ids. */
const sorted = (path: string) =>
  readFileSync(path, 'utf8')
    .replace(/"created":\d+/g, '')
    .trim()
    .split('\n')
    .sort();

describe('batch', { concurrency: 2 }, () => {
  it('gives each line the text that generate gives it', async () => {
    const greedy = { temperature: 0, max_tokens: 24 };
    const stops = { ...greedy, stop: ['.', 'girl'] };
    const sampled = { max_tokens: 24, seed: 11, top_k: 40, top_p: 0.95, temperature: 0.8 };
    const { input, output } = files([
      request('greedy', prompts[0], { ...greedy, user: 'me', model: 'gpt-3.5-turbo-instruct' }),
      request('stops', prompts[0], stops),
      request('sampled', prompts[0], sampled),
      request('empty', '', greedy),
      request('ids', [2, 403, 277], greedy),
      request('n', prompts[0], { n: 2 }),
    ]);
    const args = ['batch', model, input, output, ...budget];
    const summary = await runCliJson<Summary>(args);
    const said = new Map(results(output).map((result) => [result.custom_id, result]));
    const expected: readonly (readonly [string, string, string[]])[] = [
      ['greedy', 'Once upon a time', ['--temperature', '0']],
      ['stops', 'Once upon a time', ['--temperature', '0', '--stop', '.', '--stop', 'girl']],
      ['sampled', 'Once upon a time', ['--seed', '11']],
      ['empty', '', ['--temperature', '0']],
    ];
    let tokens = said.get('ids')?.response?.body.usage?.completion_tokens ?? 0;
    for (const [id, prompt, flags] of expected) {
      const alone = await runCliJson<{ text: string; tokens: number[]; promptTokens: number[] }>([
        ...['generate', model, '--prompt', prompt, '--max-tokens', '24', ...flags, ...budget],
      ]);
      const body = said.get(id)?.response?.body;
      assert.equal(body?.choices?.[0]?.text, alone.text, id);
      assert.deepEqual(body?.usage, {
        prompt_tokens: alone.promptTokens.length,
        completion_tokens: alone.tokens.length,
        total_tokens: alone.promptTokens.length + alone.tokens.length,
      });
      tokens += alone.tokens.length;
    }
    assert.equal(said.get('stops')?.response?.body.choices?.[0]?.finish_reason, 'stop');
    assert.equal(said.get('n')?.error?.code, 'unsupported_parameter');
    const { lines, answered, errors, answeredBefore } = summary;
    assert.deepEqual([lines, answered, errors, answeredBefore], [6, 6, 1, 0]);
    assert.equal(summary.tokens, tokens);
    assert.ok(summary.tokensPerSecond > 0 && summary.flashBytes > 2e6);
    assert.ok(summary.peakRss < 256 * 2 ** 20);
    assertEntries(dirname(output), ['in.jsonl', 'out.jsonl']);
  });

  it('loses and doubles no line when it is killed again and again', async () => {
    const kills = Number(process.env.FLASHLLM_TEST_KILLS ?? 6);
    const dice = new Dice(kills);
    const lines = [...many(10 * kills, 24), 'rubbish', request('story-0', 'again')];
    const { input, output } = files(lines);
    const straight = join(dirname(output), 'straight.jsonl');
    const args = (to: string) => ['batch', model, input, to, ...budget, '--parallel', '3'];
    await runCliJson<Summary>(args(straight));
    let killed = 0;
    let resumed = 0;
    for (; killed < kills; killed++) {
      const found = sizeOf(output);
      const { child, finished } = startCli(args(output));
      // After some results, or at any moment from the start on.
      const more = dice.between(0, 2500);
      const until = performance.now() + (dice.chance(0.7) ? 60_000 : dice.between(0, 600));
      while (sizeOf(output) < found + more && performance.now() < until) await sleep(2);
      await sleep(dice.between(0, 20));
      child.kill('SIGKILL');
      const { signal, stderr } = await finished;
      assert.equal(signal, 'SIGKILL', `it ended before it was killed, ${killed} times\n${stderr}`);
      if (found > 0) resumed++;
    }
    assert.ok(resumed > 0, 'it was never killed after a resumption');
    const summary = await runCliJson<Summary>(args(output));
    assert.deepEqual([summary.answered, summary.errors], [lines.length, 2]);
    assert.ok(summary.answeredBefore > 0);
    assert.deepEqual(sorted(output), sorted(straight));
    assertEntries(dirname(output), ['in.jsonl', 'out.jsonl', 'straight.jsonl']);
  });

  it('ends at Ctrl-C, says how to go on, and goes on', async () => {
    const { input, output } = files(many(120, 40));
    const args = ['batch', model, input, output, ...budget];
    const { child, finished } = startCli(args);
    while (!existsSync(output) || readFileSync(output).length === 0) await sleep(20);
    child.kill('SIGINT');
    const { code, stdout, stderr } = await finished;
    assert.equal(code, 130, stderr);
    assert.match(stdout, /^lines +\d+ of 120 answered$/m);
    const [, left] =
      /run the same command again to answer the remaining (\d+) requests/.exec(stderr) ?? [];
    assert.equal(results(output).length + Number(left), 120);
    const short = ['--context', '41'];
    const { answered, answeredBefore } = await runCliJson<Summary>([...args, ...short]);
    assert.equal(answered, 120);
    assert.equal(answeredBefore + Number(left), 120);
  });

  it('holds to its context, and says what does not fit', async () => {
    const { input, output } = files([
      request('fits', 'Once', { max_tokens: 15 }),
      request('wide', 'Once', { max_tokens: 16 }),
      request('open', 'Once'),
    ]);
    await runCliJson<Summary>(['batch', model, input, output, ...budget, '--context', '16']);
    const said = new Map(results(output).map((result) => [result.custom_id, result]));
    assert.equal(said.get('fits')?.error, null);
    assert.match(
      said.get('wide')?.error?.message ?? '',
      /2 tokens and 'max_tokens' is 16: they need 17 positions, .* 16 \(--context may be up to 512\)/,
    );
    assert.equal(said.get('open')?.response?.body.usage?.completion_tokens, 15);
  });

  it('answers chats by a template, and says where there is none', async () => {
    const messages = [{ role: 'user', content: 'Tell of a dog' }];
    const responseFormat = { type: 'json_schema', json_schema: { schema: { enum: ['a', 'b'] } } };
    const { input, output } = files([
      chatRequest('said', { messages, max_tokens: 8, n: 2 }),
      chatRequest('held', { messages, max_tokens: 8, response_format: responseFormat }),
      request('text', 'The dog', { max_tokens: 8 }),
    ]);
    const args = ['batch', model, input, output, ...budget];
    assert.equal((await runCliJson<Summary>(args)).errors, 2);
    const said = () => new Map(results(output).map((result) => [result.custom_id, result]));
    const none = said().get('said')?.error?.message ?? '';
    assert.match(none, /no chat template: .* give a template with --template/);
    const kept = readFileSync(output, 'utf8')
      .split('\n')
      .filter((line) => line.includes('"error":null'));
    writeFileSync(output, kept.map((line) => `${line}\n`).join(''));
    const template = join(dirname(output), 'chat.jinja');
    writeFileSync(template, '{% if');
    assertRefused(await runCli([...args, '--template', template]), [template]);
    writeFileSync(template, chatml);
    const summary = await runCliJson<Summary>([...args, '--template', template]);
    assert.deepEqual([summary.answered, summary.answeredBefore, summary.errors], [3, 1, 0]);
    assert.ok(summary.peakRss < 256 * 2 ** 20);
    assert.equal(said().get('said')?.response?.body.choices?.length, 2);
    const held = said().get('held')?.response?.body.choices?.[0]?.message?.content;
    assert.match(String(held), /^"[ab]"$/);
  });

  it('refuses an output that another run writes to', async () => {
    const { input, output } = files(many(120, 40));
    const args = ['batch', model, input, output, ...budget];
    const { child, finished } = startCli(args);
    while (!existsSync(output)) await sleep(20);
    assertRefused(await runCli(args), [`${output}: is being written by process ${child.pid}`]);
    child.kill('SIGTERM');
    assert.equal((await finished).code, 143);
  });

  it('refuses an output of another model, and one of something else', async () => {
    const { input, output } = files(many(1, 4));
    const args = ['batch', model, input, output, ...budget];
    await runCliJson<Summary>(args);
    assertRefused(await runCli([...args, '--kv-dtype', 'f16']), ['was made with another model']);
    assert.equal((await runCliJson<Summary>(args)).answeredBefore, 1);
    writeFileSync(output, 'my notes');
    assertRefused(await runCli(args), [`${output}: line 1 is not the result of a batch`]);
    assert.equal(readFileSync(output, 'utf8'), 'my notes');
  });

  it('refuses what it cannot begin with, and leaves nothing behind', async () => {
    const { input, output } = files(many(1, 4));
    const batch = (from: string, ...flags: string[]) =>
      runCli(['batch', model, from, output, ...flags]);
    assertRefused(await batch(join(root.path, 'nowhere')), ['nowhere: no such file']);
    assertRefused(await batch(root.path), ['is a directory, not a file']);
    assertRefused(await batch(input, '--context', '513', ...budget), [
      'the context must be 1 to 512',
    ]);
    assertWrongUsage(await batch(input, '--parallel', '0'), ["'0'", 'from 1 to 64']);
    const { code, stderr } = await batch(input, '--dram-budget', '40MiB');
    assert.equal(code, 2);
    assert.match(stderr, /context of 256 positions.*\nerror: .*below the floor/);
    assertEntries(dirname(output), ['in.jsonl']);
  });
});
