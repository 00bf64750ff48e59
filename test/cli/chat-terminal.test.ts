/** Chats at a terminal: editing, Ctrl-C, what is dimmed. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { storiesOpt } from '../support/fixtures.ts';
import { convert } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { hasTerminal, openTerminal } from '../support/terminal.ts';

const root = temporaryRoot();
const turns = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}";
const ctrlC = '\x03';
const ctrlD = '\x04';
const dim = '\x1b[2m';
const backspace = '\x7f';
const up = '\x1b[A';
const greedy = ['--temperature', '0'];
const long = ['--max-tokens', '400', '--ignore-eos', ...greedy];
const short = ['--max-tokens', '4', ...greedy];

describe('chat at a terminal', {
  skip: hasTerminal ? false : 'there is no `script` of util-linux',
  concurrency: 1,
}, () => {
  let model = '';
  let template = '';
  let thinking = '';

  before(async () => {
    const dir = root.directory();
    model = await convert(storiesOpt, join(dir, 'model'));
    template = join(dir, 'template.jinja');
    thinking = join(dir, 'thinking.jinja');
    writeFileSync(template, `${turns}assistant: `);
    writeFileSync(thinking, `${turns}<think>`);
  });

  const start = (flags: readonly string[], env = {}) =>
    openTerminal(['chat', model, '--dram-budget', '256MiB', ...flags], env);

  it('Ctrl-C ends an answer, and once more the chat', async () => {
    const terminal = start(['--template', template, ...long]);
    await terminal.see(/> /);
    terminal.type('Tell me a story.\r');
    await terminal.see(/story\.\s+\w/);
    terminal.type(ctrlC);
    await terminal.see(/interrupted\r\n/);
    await terminal.see(/> /);
    terminal.type('/stats\r');
    const generated = Number((await terminal.see(/generated +(\d+) tokens/))[1]);
    assert.ok(generated > 0 && generated < 400, `${generated} tokens`);
    await terminal.see(/> /);
    terminal.type(ctrlC);
    await terminal.see(/once more/);
    await terminal.see(/> /);
    terminal.type(ctrlC);
    assert.equal(await terminal.ended, 130);
  });

  it('Ctrl-C drops the line that is typed, and nothing more', async () => {
    const terminal = start(['--template', template, ...short]);
    await terminal.see(/> /);
    terminal.type('not this');
    await terminal.see(/not this/);
    terminal.type(ctrlC);
    await terminal.see(/> /);
    terminal.type('/save\r');
    await terminal.see(/\/save needs the name of a file/);
    await terminal.see(/> /);
    terminal.type(ctrlD);
    assert.equal(await terminal.ended, 0);
  });

  it('lines are edited, and come back', async () => {
    const saved = join(root.directory(), 'chat.json');
    const terminal = start(['--template', template, ...short]);
    await terminal.see(/> /);
    terminal.type(`/system Be kinf${backspace}d.\r`);
    await terminal.see(/\r\nBe kind\.\r\n/);
    await terminal.see(/> /);
    terminal.type('/system Be brief.\r');
    await terminal.see(/\r\nBe brief\.\r\n/);
    await terminal.see(/> /);
    terminal.type(`${up}${up}\r`);
    await terminal.see(/\r\nBe kind\.\r\n/);
    await terminal.see(/> /);
    terminal.type('"""/system\rtwo\rlines"""\r');
    await terminal.see(/lines"""\s+\w/);
    await terminal.see(/> /);
    terminal.type(`/save ${saved}\r`);
    await terminal.see(/saved one turn/);
    await terminal.see(/> /);
    terminal.type('/undo\r');
    await terminal.see(/taken back, 0 turns left/);
    terminal.type('/exit\r');
    assert.equal(await terminal.ended, 0);
    const { messages } = JSON.parse(readFileSync(saved, 'utf8')) as { messages: unknown[] };
    assert.deepEqual(messages.slice(0, 2), [
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: '/system\ntwo\nlines' },
    ]);
  });

  it('what cannot be done is told, and the chat goes on', async () => {
    const terminal = start(['--template', template, ...short]);
    await terminal.see(/> /);
    terminal.type('/load /nowhere/at all.json\r');
    await terminal.see(/error: \/nowhere\/at all\.json/);
    await terminal.see(/> /);
    terminal.type(`${'word '.repeat(700)}\r`);
    await terminal.see(/error: the prompt has \d+ tokens/);
    await terminal.see(/> /);
    terminal.type('/undo\r');
    await terminal.see(/there is no turn/);
    terminal.type('/exit\r');
    assert.equal(await terminal.ended, 0);
  });

  it('what is thought is dimmed, unless there are to be no colours', async () => {
    const dimmed = start(['--template', thinking, ...short]);
    await dimmed.see(/> /);
    dimmed.type('Hello\r');
    await dimmed.see(/Hello\s/);
    await dimmed.see(/> /);
    dimmed.type('/exit\r');
    assert.equal(await dimmed.ended, 0);
    assert.ok(dimmed.shown().includes(dim), JSON.stringify(dimmed.shown()));

    const plain = start(['--template', thinking, ...short], { NO_COLOR: '1' });
    await plain.see(/> /);
    plain.type('Hello\r/exit\r');
    assert.equal(await plain.ended, 0);
    assert.ok(!plain.shown().includes(dim), JSON.stringify(plain.shown()));
  });
});
