import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Conversation } from '../../src/chat/conversation.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });

test('turns come, are left out, and are taken back', () => {
  const conversation = new Conversation('Be kind.');
  const system = { role: 'system', content: 'Be kind.' };
  assert.equal(conversation.undo(), false);
  for (const n of ['1', '2', '3']) {
    conversation.add(user(n));
    conversation.add(assistant(`a${n}`));
  }
  conversation.leave(2);
  assert.equal(conversation.turns, 3);
  assert.deepEqual(conversation.messages.slice(0, 2), [system, user('2')]);
  assert.equal(conversation.undo(), true);
  assert.deepEqual(conversation.messages, [system, user('2'), assistant('a2')]);
  assert.ok(conversation.undo() && conversation.undo());
  assert.deepEqual(conversation.messages, [system]);
  conversation.add(user('4'));
  assert.deepEqual(
    conversation.messages,
    [system, user('4')],
    'what is left out is forgotten, too',
  );
  conversation.reset();
  conversation.system = null;
  assert.deepEqual(conversation.messages, []);
});

test('what is saved is loaded, and takes the place of what was there', async () => {
  const dir = root.directory();
  const file = join(dir, 'chat.json');
  writeFileSync(file, 'something else');
  const conversation = new Conversation('Sei höflich 🧪');
  conversation.add(user('"quoted"\n\u2028'));
  conversation.add(assistant(''));
  conversation.leave(1);
  await conversation.save(file);
  assert.deepEqual(readdirSync(dir), ['chat.json'], 'nothing else is left');
  const other = new Conversation();
  await other.load(file);
  assert.deepEqual(other.messages, [
    { role: 'system', content: 'Sei höflich 🧪' },
    user('"quoted"\n\u2028'),
    assistant(''),
  ]);
  assert.equal(other.turns, 1);
  assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { messages: other.messages });
});

test('what is no conversation is refused with its place, and nothing changes', async () => {
  const dir = root.directory();
  const file = join(dir, 'chat.json');
  const conversation = new Conversation('x');
  conversation.add(user('y'));
  const before = conversation.messages;
  const bad: readonly (readonly [string, RegExp])[] = [
    ['', /chat\.json.*not valid JSON/],
    ['{"messages": [', /not valid JSON/],
    ['[]', /no list 'messages'/],
    ['{"messages": {}}', /no list 'messages'/],
    ['{"messages": [1]}', /messages\[0\] is not a message: 1/],
    ['{"messages": [{"role": "user", "content": "a"}, {"role": 5}]}', /messages\[1\]\.role/],
    ['{"messages": [{"role": "user"}]}', /messages\[0\]\.content is not a string/],
    ['{"messages": [{"role": "user", "content": ["\\u001b[31m"]}]}', /content is not a string/],
    [`${'['.repeat(300)}`, /nested/],
    [`{"messages": [${Array(70_000).fill('{"role":"user","content":""}').join()}]}`, /at most/],
  ];
  for (const [text, reason] of bad) {
    writeFileSync(file, text);
    await assert.rejects(conversation.load(file), { name: /InputError|JsonExcess/, line: reason });
    assert.deepEqual(conversation.messages, before);
  }
  writeFileSync(file, Buffer.from([0xff, 0xfe]));
  await assert.rejects(conversation.load(file), { line: /UTF-8/ });
  await assert.rejects(conversation.load(dir), { line: /directory/ });
  await assert.rejects(conversation.load(join(dir, 'nothing')), { name: 'InputError' });
  mkdirSync(join(dir, 'taken'));
  await assert.rejects(conversation.save(join(dir, 'taken')), { name: 'InputError' });
  await assert.rejects(conversation.save(join(dir, 'no', 'such')), { name: 'InputError' });
  assert.deepEqual(readdirSync(dir).sort(), ['chat.json', 'taken']);
});
