/** `serve` as a process: what it says, whom it answers, and how it ends. */

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { chatml } from '../serve/template.ts';
import {
  assertRefused,
  assertWrongUsage,
  type RunningCli,
  runCli,
  startCli,
} from '../support/cli.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
let model = '';
let template = '';
before(async () => {
  model = await convert(storiesOpt, join(root.directory(), 'stories.flash'));
  template = join(root.directory(), 'chatml.jinja');
  writeFileSync(template, chatml);
});

/** Starts a server at a free port. @returns it, and where it listens */
async function start(...flags: string[]): Promise<{ cli: RunningCli; url: string }> {
  const cli = startCli(['serve', model, '--port', '0', ...flags]);
  const url = await new Promise<string>((resolve, reject) => {
    let said = '';
    cli.child.stderr?.on('data', (part) => {
      said += part;
      const found = /listening at (http:\S+)/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
    void cli.finished.then(({ stderr }) => reject(new Error(stderr)));
  });
  return { cli, url };
}

function ask(url: string, body: object): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'xylophone' }], ...body }),
  });
}

test('SIGTERM lets answers under way come to their end, and takes no more', async () => {
  const { cli, url } = await start('--template', template, '--context', '300', '--parallel', '2');
  const page = await fetch(url);
  assert.match(await page.text(), /<title>flashllm<\/title>/);
  const script = await fetch(`${url}/main.js`);
  assert.match(script.headers.get('content-type') ?? '', /^text\/javascript/);
  const schema = { enum: ['a', 'b'] };
  const held = await ask(url, {
    response_format: { type: 'json_schema', json_schema: { name: 'letter', schema } },
  });
  const { choices } = (await held.json()) as { choices: [{ message: { content: string } }] };
  assert.match(choices[0].message.content, /^"[ab]"$/);
  const slow = await ask(url, { stream: true, max_tokens: 240, logit_bias: { 2: -100 } });
  const reader = slow.body?.getReader();
  await reader?.read();
  cli.child.kill('SIGTERM');
  let text = '';
  for (;;) {
    const part = await reader?.read();
    if (part === undefined || part.done) break;
    text += Buffer.from(part.value).toString();
  }
  assert.match(text, /"finish_reason":"length"/);
  assert.ok(text.endsWith('data: [DONE]\n\n'));
  const { code, stdout, stderr } = await cli.finished;
  assert.equal(code, 0, stderr);
  assert.equal(stdout, '');
  assert.match(stderr, /stopping once the requests under way are answered/);
  assert.match(stderr, /POST \/v1\/chat\/completions 200, prompt \d+ tokens/);
  assert.ok(!stderr.includes('xylophone'));
  await assert.rejects(fetch(url));
});

test('a model without a template answers completions, and says why it answers no chat', async () => {
  const { cli, url } = await start('--no-grammars', '--queue', '0', '--parallel', '1');
  const chat = await ask(url, {});
  assert.equal(chat.status, 400);
  const { error } = (await chat.json()) as { error: { message: string } };
  assert.match(error.message, /no chat template: use \/v1\/completions, or give .* --template/);
  const completion = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'Once upon a', max_tokens: 1, temperature: 0 }),
  });
  const { choices } = (await completion.json()) as { choices: [{ text: string }] };
  assert.equal(choices[0].text, ' time');
  cli.child.kill('SIGINT');
  assert.equal((await cli.finished).code, 0);
});

test('a budget without room for the usual context gets a shorter one, and only then', async () => {
  const flags = ['--parallel', '64', '--no-grammars'];
  const refused = await runCli([
    ...['serve', model, '--context', '512', '--dram-budget', '20MiB', ...flags],
  ]);
  assertRefused(refused, ['32768 positions of 64 sequences']);
  const floor = Number(/below the floor of ([\d.]+) MiB/.exec(refused.stderr)?.[1]);
  const budget = `${Math.floor(floor - 20)}MiB`;
  const { cli, url } = await start('--dram-budget', budget, ...flags);
  const stats = (await (await fetch(`${url}/stats`)).json()) as { context: number };
  assert.equal(stats.context, 256);
  cli.child.kill('SIGINT');
  const { stderr } = await cli.finished;
  assert.match(stderr, /^context of 256 positions, as the budget has no room for 512;/m);
});

test('what cannot be served is refused', async () => {
  assertWrongUsage(await runCli(['serve', model, '--port', '99999']), ['65535']);
  assertRefused(await runCli(['serve', model, '--dram-budget', '20MiB']), ['below the floor']);
});
