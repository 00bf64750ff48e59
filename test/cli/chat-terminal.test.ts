/** Chats at a terminal: editing, Ctrl-C, what is dimmed. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { chatPrompt } from '../../src/chat/chat.ts';
import { templatesInFile } from '../../src/chat/chat-templates.ts';
import type { ChatMessage } from '../../src/chat/messages.ts';
import { Model } from '../../src/engine/model.ts';
import { fixture, storiesOpt } from '../support/fixtures.ts';
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

/** A conversation that transformers had with the bundled model. */
const { turns: five, ...talk } = JSON.parse(readFileSync(fixture('turns/turns.json'), 'utf8')) as {
  readonly template: string;
  readonly maxTokens: number;
  readonly turns: readonly {
    readonly user: string;
    readonly prompt: readonly number[];
    readonly answer: readonly number[];
    readonly text: string;
  }[];
};

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
    await terminal.see(/press Ctrl-C again/);
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
    await terminal.see(/\/save needs a file name/);
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
    await terminal.see(/removed, 0 turns left/);
    terminal.type('/exit\r');
    assert.equal(await terminal.ended, 0);
    const { messages } = JSON.parse(readFileSync(saved, 'utf8')) as { messages: unknown[] };
    assert.deepEqual(messages.slice(0, 2), [
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: '/system\ntwo\nlines' },
    ]);
  });

  it('five turns are those of transformers, and each computes what is new', async () => {
    const saved = join(root.directory(), 'five.json');
    const file = join(root.directory(), 'five.jinja');
    writeFileSync(file, talk.template);
    const limit = ['--max-tokens', `${talk.maxTokens}`, ...greedy];
    const terminal = start(['--template', file, ...limit]);
    await terminal.see(/> /);
    let held = 0;
    for (const { user, prompt, answer } of five) {
      terminal.type(`${user}\r`);
      await terminal.see(/\r\n(.|\s)*> /);
      terminal.type('/stats\r');
      const said = await terminal.see(
        /context: (\d+) of .*; prompt: (\d+) tokens computed, (\d+) reused/,
      );
      const [positions, computed, kept] = said.slice(1).map(Number);
      assert.deepEqual([computed, kept], [prompt.length - held, held], user);
      // The last token of an answer is not fed back.
      held = prompt.length + answer.length - 1;
      assert.equal(positions, held);
      await terminal.see(/> /);
    }
    terminal.type(`/save ${saved}\r`);
    await terminal.see(/saved 5 turns/);
    terminal.type('/exit\r');
    assert.equal(await terminal.ended, 0);
    const { messages } = JSON.parse(readFileSync(saved, 'utf8')) as { messages: ChatMessage[] };
    assert.deepEqual(
      messages.map(({ content }) => content),
      five.flatMap(({ user, text }) => [user, text]),
    );
    const loaded = await Model.open(model);
    try {
      const templates = await templatesInFile(file, loaded.tokenizer.roles);
      for (const [turn, { prompt }] of five.entries()) {
        const ids = await chatPrompt(loaded, messages.slice(0, 2 * turn + 1), { templates });
        assert.deepEqual(ids, prompt);
      }
    } finally {
      loaded.close();
    }
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
