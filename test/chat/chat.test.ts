/** Conversations with the bundled model: what is sent, what is computed, what is left out. */

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { chat, chatPrompt } from '../../src/chat/chat.ts';
import { ChatTemplates } from '../../src/chat/chat-templates.ts';
import type { ChatMessage } from '../../src/chat/messages.ts';
import type { AnswerPart } from '../../src/chat/reasoning.ts';
import { greedy } from '../../src/engine/sampler.ts';
import { converted, withSequence } from '../engine/support.ts';
import { storiesOpt } from '../support/fixtures.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();
let model = '';
before(async () => {
  model = await converted(root, storiesOpt);
});

const source =
  '{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}' +
  '{% if add_generation_prompt %}assistant:{% endif %}';
const templatesWith = (text: string, bos = '</s>') =>
  new ChatTemplates(new Map([['default', text]]), 'template.jinja', new Map([['bos_token', bos]]));
const roomy = 64 * 2 ** 20;
const user = (content: string): ChatMessage => ({ role: 'user', content });
const answer = { sampling: greedy, maxTokens: 12, ignoreEos: true };

test('each of five turns is sent as the whole conversation, and computes what is new', async () => {
  await withSequence(model, roomy, { context: 400 }, async (sequence) => {
    const { tokenizer } = sequence.runtime.model;
    const bos = tokenizer.roles.get('bos_token') ?? '';
    const templates = templatesWith(source, bos);
    const messages: ChatMessage[] = [{ role: 'system', content: ' Tell stories.' }];
    let text = `${bos}system: Tell stories.\n`;
    let before = 0;
    for (let turn = 0; turn < 5; turn++) {
      messages.push(user(` And then, ${turn} times?`));
      text += `user: And then, ${turn} times?\n`;
      const result = await chat(sequence, messages, { prompt: { templates }, ...answer });
      const ids = tokenizer.encode(`${text}assistant:`);
      assert.deepEqual(result.promptTokens, ids);
      assert.equal(ids.filter((id) => id === tokenizer.bosId).length, 1, 'BOS stands there once');
      assert.equal(result.droppedMessages, 0);
      assert.equal(result.stats.promptTokens, ids.length);
      // The prompt of the turn before is kept, and of its answer what is cut into the same tokens.
      assert.ok(result.reusedTokens >= before && result.reusedTokens < ids.length);
      assert.equal(sequence.length, ids.length + answer.maxTokens - 1);
      before = ids.length;
      assert.equal(result.text.length > 0, true);
      messages.push(result.message);
      text += `assistant:${result.text}\n`;
    }
  });
});

test('an answer is the same whether its beginning was kept or not', async () => {
  await withSequence(model, roomy, { context: 300 }, async (sequence) => {
    const templates = templatesWith(source);
    const options = { prompt: { templates }, ...answer };
    const first = await chat(sequence, [user('One day')], options);
    const messages = [user('One day'), first.message, user('Go on')];
    const second = await chat(sequence, messages, options);
    assert.ok(second.reusedTokens > 0);
    sequence.rewind();
    const anew = await chat(sequence, messages, options);
    assert.equal(anew.reusedTokens, 0);
    assert.deepEqual(anew.tokens, second.tokens);
  });
});

test('the oldest turns are left out where there is no room, down to half of it', async () => {
  await withSequence(model, roomy, { context: 160 }, async (sequence) => {
    const templates = templatesWith(source);
    const system: ChatMessage = { role: 'system', content: 'Be kind.' };
    const turns = Array.from({ length: 12 }, (_, turn): ChatMessage[] => [
      user(`The turn number ${turn} of many`),
      { role: 'assistant', content: `That was ${turn}` },
    ]).flat();
    const messages = [system, ...turns, user('The last one')];
    const { model: opened } = sequence.runtime;
    const whole = await chatPrompt(opened, messages, { templates });
    assert.ok(whole.length > 160);
    await assert.rejects(chat(sequence, messages, { prompt: { templates }, ...answer }), {
      name: 'PromptTooLongError',
      message: `the prompt has ${whole.length} tokens, the model's context 160`,
    });
    const options = { prompt: { templates }, dropOldest: true, ...answer };
    const result = await chat(sequence, messages, options);
    assert.ok(result.droppedMessages > 0 && result.droppedMessages % 2 === 0);
    assert.ok(result.promptTokens.length <= 80);
    const kept = [system, ...messages.slice(1 + result.droppedMessages)];
    assert.deepEqual(result.promptTokens, await chatPrompt(opened, kept, { templates }));
    // One turn more would have been too much.
    const more = [system, ...messages.slice(1 + result.droppedMessages - 2)];
    assert.ok((await chatPrompt(opened, more, { templates })).length > 80);
    const long = user('word '.repeat(200));
    await assert.rejects(chat(sequence, [system, ...turns, long], options), {
      name: 'PromptTooLongError',
    });
  });
});

test('what the template opens as thought is told apart', async () => {
  await withSequence(model, roomy, { context: 100 }, async (sequence) => {
    const parts: AnswerPart[] = [];
    const onPart = (part: AnswerPart) => parts.push(part);
    const templates = templatesWith('{{ messages[0].content }}<think>');
    const options = { prompt: { templates }, onPart, ...answer };
    const result = await chat(sequence, [user('Once')], options);
    assert.ok(parts.length > 0 && parts.every(({ thought }) => thought));
    assert.equal(parts.map(({ text }) => text).join(''), result.text);
  });
});

test('a model without a template says what to do', async () => {
  await withSequence(model, roomy, { context: 50 }, async (sequence) => {
    await assert.rejects(chat(sequence, [user('Hello')], answer), {
      name: 'InputError',
      line: /has no chat template\. .*--template/,
    });
  });
});
