/** The API as its official client sees it. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { temporaryRoot } from '../support/temporary.ts';
import { assertAnswers } from './answers.ts';
import { startServer, storiesModel, type TestServer, until } from './support.ts';

const root = temporaryRoot();
let at: TestServer;
before(async () => {
  at = await startServer(root, await storiesModel(root));
});
after(() => at.close());

const model = 'any';
const user = (content: string) => ({ role: 'user', content }) as const;
const messages = [user('Once upon a time')];
const asked = { model, messages, max_tokens: 12, seed: 7 };

test('the model is listed by the name of its directory', async () => {
  const { data } = await at.client.models.list();
  assert.deepEqual(
    data.map(({ id, object }) => ({ id, object })),
    [{ id: 'model', object: 'model' }],
  );
  assert.equal((await at.client.models.retrieve('model')).id, 'model');
  await assert.rejects(at.client.models.retrieve('other'), {
    status: 404,
    code: 'model_not_found',
  });
});

test('a chat is answered the same at once, in parts, and with others under way', async () => {
  const whole = await at.client.chat.completions.create(asked);
  assertAnswers('ChatCompletion', whole);
  const [choice] = whole.choices;
  assert.equal(choice?.finish_reason, 'length');
  assert.equal(whole.usage?.completion_tokens, 12);
  assert.ok((choice?.message.content ?? '').length > 0);

  const others = Array.from({ length: 6 }, (_, seed) =>
    at.client.chat.completions.create({ ...asked, messages: [user(`Number ${seed}`)], seed }),
  );
  const stream = await at.client.chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  });
  let [text, finish] = ['', ''];
  const usages: unknown[] = [];
  for await (const chunk of stream) {
    assertAnswers('ChatCompletionChunk', chunk);
    text += chunk.choices[0]?.delta.content ?? '';
    finish += chunk.choices[0]?.finish_reason ?? '';
    if (chunk.usage) usages.push(chunk.usage.total_tokens);
  }
  assert.equal(text, choice?.message.content);
  assert.equal(finish, 'length');
  assert.deepEqual(usages, [whole.usage?.total_tokens]);
  const beside = await Promise.all(others);
  for (const [seed, answer] of beside.entries()) {
    const alone = await at.client.chat.completions.create({
      ...asked,
      messages: [user(`Number ${seed}`)],
      seed,
    });
    assert.deepEqual(answer.choices, alone.choices);
  }
});

test('a turn computes what is new', async () => {
  const first = await at.client.chat.completions.create(asked);
  const answer = first.choices[0]?.message.content ?? '';
  const second = await at.client.chat.completions.create({
    ...asked,
    messages: [...messages, { role: 'assistant', content: answer }, user('And then?')],
  });
  const cached = second.usage?.prompt_tokens_details?.cached_tokens ?? 0;
  // But for its last token, the first prompt is kept.
  assert.ok(cached >= (first.usage?.prompt_tokens ?? 0) - 1, `${cached} tokens were kept`);
});

test('several answers have seeds of their own, the first that of the request', async () => {
  const several = await at.client.chat.completions.create({ ...asked, n: 3 });
  assertAnswers('ChatCompletion', several);
  for (const [index, { message }] of several.choices.entries()) {
    const alone = await at.client.chat.completions.create({ ...asked, seed: 7 + index });
    assert.equal(message.content, alone.choices[0]?.message.content);
  }
  assert.equal(several.usage?.completion_tokens, 36);
  const texts = new Set(several.choices.map(({ message }) => message.content));
  assert.equal(texts.size, 3);
});

test('probabilities are those of the model, whatever is drawn', async () => {
  const { choices } = await at.client.chat.completions.create({
    ...asked,
    temperature: 0,
    logprobs: true,
    top_logprobs: 3,
  });
  const content = choices[0]?.logprobs?.content ?? [];
  assert.equal(content.length, 12);
  for (const { token, logprob, bytes, top_logprobs: top } of content) {
    assert.equal(top.length, 3);
    assert.equal(top[0]?.token, token);
    assert.equal(top[0]?.logprob, logprob);
    assert.ok(logprob <= 0 && top.every((each, i) => each.logprob <= (top[i - 1]?.logprob ?? 0)));
    assert.deepEqual(bytes, [...Buffer.from(token)]);
  }
  assert.equal(content.map(({ token }) => token).join(''), choices[0]?.message.content);
  const stream = await at.client.chat.completions.create({
    ...asked,
    temperature: 0,
    logprobs: true,
    top_logprobs: 3,
    stream: true,
  });
  const streamed = [];
  for await (const chunk of stream) {
    assertAnswers('ChatCompletionChunk', chunk);
    streamed.push(...(chunk.choices[0]?.logprobs?.content ?? []));
  }
  assert.deepEqual(streamed, content);
});

test('completions begin where the prompt ends', async () => {
  const body = { model, prompt: 'Once upon a', max_tokens: 8, temperature: 0, logprobs: 2 };
  const whole = await at.client.completions.create(body);
  assertAnswers('Completion', whole);
  const [choice] = whole.choices;
  assert.match(choice?.text ?? '', /^ time/);
  assert.equal(choice?.logprobs?.tokens?.join(''), choice?.text);
  assert.deepEqual(choice?.logprobs?.text_offset?.slice(0, 2), [0, ' time'.length]);
  const echo = await at.client.completions.create({ ...body, logprobs: null, echo: true });
  assert.equal(echo.choices[0]?.text, `Once upon a${choice?.text}`);
  const stream = await at.client.completions.create({ ...body, stream: true });
  let text = '';
  for await (const chunk of stream) {
    assertAnswers('Completion', chunk);
    text += chunk.choices[0]?.text ?? '';
  }
  assert.equal(text, choice?.text);
});

test('stop texts, biases and penalties hold', async () => {
  const body = { model, prompt: 'Once upon a', max_tokens: 40, temperature: 0 };
  const free = await at.client.completions.create(body);
  const text = free.choices[0]?.text ?? '';
  const stop = text.slice(10, 14);
  const stopped = await at.client.completions.create({ ...body, stop });
  assert.equal(stopped.choices[0]?.text, text.slice(0, text.indexOf(stop)));
  assert.equal(stopped.choices[0]?.finish_reason, 'stop');

  const { tokenizer } = at.runtime.model;
  const [time = -1] = tokenizer.encode(' time');
  const biased = await at.client.completions.create({ ...body, logit_bias: { [time]: -100 } });
  assert.ok(!biased.choices[0]?.text.startsWith(' time'));
  const demanded = await at.client.completions.create({
    ...body,
    max_tokens: 6,
    logit_bias: { [time]: 100 },
  });
  assert.equal(demanded.choices[0]?.text, ' time'.repeat(6));
  // What was said becomes less likely each time, so nothing comes up six times.
  const varied = await at.client.completions.create({
    ...body,
    max_tokens: 6,
    logit_bias: { [time]: 1.5 },
    frequency_penalty: 2,
    presence_penalty: 2,
  });
  assert.ok((varied.choices[0]?.text.split(' time').length ?? 0) <= 3, varied.choices[0]?.text);
});

test('what is wrong is told in the form of the API, with the field and the number', async () => {
  const cases: [object, string | null, RegExp][] = [
    [{ messages: [] }, 'messages', /1 to 4096 messages/],
    [{ temperature: 3 }, 'temperature', /from 0 to 2, not 3/],
    [{ nonsense: 1 }, 'nonsense', /unknown/],
    [{ n: 17 }, 'n', /1 to 16/],
    [{ tool_choice: 'required' }, 'tools', /no tools/],
    [{ top_logprobs: 2 }, 'top_logprobs', /needs 'logprobs'/],
    [{ logprobs: true, top_logprobs: 20, n: 16, max_tokens: 99 }, 'logprobs', /'max_tokens' to 97/],
    [{ messages: [user('word '.repeat(600))] }, 'messages', /has \d+ tokens, the context has 512/],
    [{ max_tokens: 600 }, 'max_tokens', /Lower 'max_tokens' to \d+/],
    [
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] },
      'messages[0].content',
      /only text/,
    ],
    [
      { response_format: { type: 'json_schema', json_schema: { name: 'a', schema: { not: {} } } } },
      'response_format',
      /schema has 'not', which is not supported/,
    ],
  ];
  for (const [change, param, says] of cases) {
    await assert.rejects(
      at.client.chat.completions.create({ ...asked, ...change } as typeof asked),
      (error: unknown) => {
        assert.ok(error instanceof OpenAI.BadRequestError, String(error));
        assert.equal(error.param, param);
        assert.match(error.message, says);
        assertAnswers('ErrorResponse', { error: error.error });
        return true;
      },
    );
  }
});

test('a client that leaves frees its sequence at the next token', async () => {
  const leave = new AbortController();
  const stream = await at.client.chat.completions.create(
    { ...asked, max_tokens: 400, stream: true, logit_bias: { 2: -100 } },
    { signal: leave.signal },
  );
  for await (const _ of stream) break;
  leave.abort();
  const active = async () =>
    ((await (await fetch(`${at.url}/stats`)).json()) as { active: number }).active;
  let left = 1;
  await until(() => {
    void active().then((now) => {
      left = now;
    });
    return left === 0;
  }, 'the sequence is free');
  await until(
    () => at.log.some((line) => line.includes('the client disconnected')),
    'it is logged',
  );
});

test('the log has a line for each request, and none of its text', async () => {
  const secret = 'xylophone';
  await at.client.chat.completions.create({ ...asked, messages: [user(secret)] });
  const line = at.log.at(-1) ?? '';
  assert.match(
    line,
    /^127\.0\.0\.1 POST \/v1\/chat\/completions 200, prompt \d+ tokens \(\d+ reused\), answer 12 tokens, length, \d+ ms$/,
  );
  assert.ok(!at.log.join('\n').includes(secret));
});
