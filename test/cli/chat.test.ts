/** Chats whose turns come through a pipe, and single turns of generate. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { runCli, runCliWell } from '../support/cli.ts';
import { fixture, storiesOpt } from '../support/fixtures.ts';
import { convert, copyModel } from '../support/model.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const roomy = ['--dram-budget', '256MiB'];
const greedy = ['--temperature', '0', '--max-tokens', '6'];
const plain =
  '{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}' +
  '{% if add_generation_prompt %}assistant:{% endif %}';

describe('chat', { concurrency: 1 }, () => {
  let model = '';
  let template = '';

  before(async () => {
    const dir = root.directory();
    model = await convert(storiesOpt, join(dir, 'model'));
    template = join(dir, 'plain.jinja');
    writeFileSync(template, plain);
  });

  const chat = (input: string, ...flags: string[]) =>
    runCli(['chat', model, ...roomy, ...greedy, '--template', template, ...flags], { input });

  it('answers each line, and goes on with what was said', async () => {
    const { code, stdout, stderr } = await chat('Once upon a time\r\n\nAnd then?\n/stats\n');
    assert.equal(code, 0, stderr);
    const answers = stdout.trimEnd().split('\n');
    assert.ok(answers.length >= 2);
    assert.ok(!stdout.includes('\x1b') && !stderr.includes('\x1b'), 'nothing acts on a terminal');
    const kept = /of the prompt, (\d+) tokens were computed and (\d+) kept/.exec(stderr);
    assert.ok(Number(kept?.[2]) > 0, stderr);
  });

  it('generate --chat is the first answer', async () => {
    const system = ['--system', 'Tell stories.'];
    const { stdout } = await chat('One day', ...system);
    const flags = [...roomy, ...greedy, '--template', template, ...system];
    const one = await runCliWell(['generate', model, '--chat', '--prompt', 'One day', ...flags]);
    assert.equal(one.stdout, stdout);
    const rendered = '</s>system: Tell stories.\nuser: One day\nassistant:';
    const json = await runCliWell(['generate', model, '--chat', '--json', ...flags], {
      input: 'One day',
    });
    const verbatim = await runCliWell([
      ...['generate', model, '--json', '--prompt', rendered.slice(4), ...roomy, ...greedy],
    ]);
    const ids = (text: string) => (JSON.parse(text) as { promptTokens: number[] }).promptTokens;
    assert.deepEqual(ids(json.stdout), ids(verbatim.stdout), 'BOS stands there once');
  });

  it('takes texts of several lines, and commands', async () => {
    const saved = join(root.directory(), 'saved.json');
    const lines = ['/system Be kind.', '"""', '/reset', 'is no command', '"""', 'Second', '/undo'];
    const first = await chat([...lines, `/save ${saved}`, '/exit', 'never said'].join('\n'));
    assert.equal(first.code, 0, first.stderr);
    const { messages } = JSON.parse(readFileSync(saved, 'utf8')) as {
      messages: { role: string; content: string }[];
    };
    assert.deepEqual(
      messages.map(({ role }) => role),
      ['system', 'user', 'assistant'],
    );
    assert.equal(messages[0]?.content, 'Be kind.');
    assert.equal(messages[1]?.content, '/reset\nis no command');
    const second = await chat(`/load ${saved}\n/undo\n/help\n/reset\n/system`);
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stderr, /loaded one turn.*\n.*taken back, 0 turns left/);
    assert.match(second.stderr, /\/save <file>/);
    assert.match(second.stderr, /Be kind\.\n$/);
    assert.equal(second.stdout, '');
  });

  it('says what is left out where the context is full', async () => {
    const turns = Array.from({ length: 8 }, (_, n) => `This is the turn number ${n}`).join('\n');
    const { code, stderr } = await chat(turns, '--context', '120');
    assert.equal(code, 0, stderr);
    assert.match(
      stderr,
      /the context of 120 positions has no room.*oldest \d+ messages are left out/,
    );
  });

  it('refuses what it cannot do', async () => {
    const bad = join(root.directory(), 'bad.jinja');
    const refused = async (reason: RegExp, input: string, ...flags: string[]) => {
      const { code, stderr, stdout } = await chat(input, ...flags);
      assert.equal(code, 2, stderr);
      assert.match(stderr, reason);
      assert.equal(stdout, '');
    };
    writeFileSync(bad, '{% for m in messages %}');
    await refused(/bad\.jinja: the chat template is not valid/, 'Hi', '--template', bad);
    writeFileSync(bad, "{{ raise_exception('no \x1b[31m turns') }}");
    await refused(/refuses this conversation: no \\x1b\[31m turns/, 'Hi', '--template', bad);
    writeFileSync(
      bad,
      '{% for a in range(60000) %}{% for b in range(60000) %}{% endfor %}{% endfor %}',
    );
    await refused(/chat template was broken off after \d+ s/, 'Hi', '--template', bad);
    await refused(/nothing\.jinja/, 'Hi', '--template', join(root.path, 'nothing.jinja'));
    await refused(/there is no command \/nothing/, '/nothing');
    writeFileSync(bad, '{"messages": [{"role": "user"}]}');
    await refused(/bad\.jinja: messages\[0\]\.content is not a string/, `/load ${bad}`);
    await refused(/--context must be from 1 to 512/, 'Hi', '--context', '513');
    const none = await runCli(['chat', model, ...roomy], { input: 'Hi' });
    assert.equal(none.code, 2);
    assert.match(none.stderr, /has no chat template\..*--template/);
    const flag = await runCli(['generate', model, '--prompt', 'x', '--system', 'y', ...roomy]);
    assert.equal(flag.code, 2);
    assert.match(flag.stderr, /--chat/);
  });

  it("takes the model's own template, from either file", async () => {
    const jinja = readFileSync(fixture('templates/chatml.jinja'), 'utf8');
    const checkpoint = copyModel(storiesOpt, join(root.directory(), 'checkpoint'));
    const converted = (name: string) => convert(checkpoint, join(root.directory(), name));
    const configFile = join(checkpoint, 'tokenizer_config.json');
    const config = JSON.parse(readFileSync(configFile, 'utf8')) as object;
    const raising = "{{ raise_exception('the other one') }}";
    const named = [
      { name: 'tool_use', template: raising },
      { name: 'default', template: jinja },
    ];
    writeFileSync(configFile, JSON.stringify({ ...config, chat_template: named }));
    const talk = (dir: string) => runCli(['chat', dir, ...roomy, ...greedy], { input: 'Hi' });
    const byConfig = await talk(await converted('config'));
    assert.equal(byConfig.code, 0, byConfig.stderr);
    writeFileSync(configFile, JSON.stringify({ ...config, chat_template: raising }));
    assert.match((await talk(await converted('raising'))).stderr, /the other one/);
    writeFileSync(join(checkpoint, 'chat_template.jinja'), jinja);
    const byFile = await talk(await converted('file'));
    assert.equal(byFile.code, 0, byFile.stderr);
    assert.equal(byFile.stdout, byConfig.stdout);
  });
});
