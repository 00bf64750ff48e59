/** Answers that are held to schemas, and calls of tools. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import type { ChatCompletionTool } from 'openai/resources';
import { SchemaMaker } from '../grammar/random-schema.ts';
import { temporaryRoot } from '../support/temporary.ts';
import { assertAnswers } from './answers.ts';
import { startServer, storiesModel, type TestServer } from './support.ts';

const root = temporaryRoot();
let at: TestServer;
before(async () => {
  at = await startServer(root, await storiesModel(root), { parallel: 8 });
});
after(() => at.close());

const model = 'any';
const messages = [{ role: 'user', content: 'Write JSON' } as const];
const ajv = new Ajv2020({ strict: false });
addFormats.default(ajv);

function parsed(text: string, told: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return assert.fail(`${error}\n${told}`);
  }
}

/** The model likes blanks between parts of JSON; without them it comes to an end sooner. */
const fewBlanks = () => {
  const { tokenizer } = at.runtime.model;
  const ids = ['\n', ' ', '  ', '\n\n'].flatMap((text) => tokenizer.encode(text));
  return Object.fromEntries(ids.map((id) => [id, -100]));
};

function demand(schema: object, seed: number) {
  return at.client.chat.completions.create({
    model,
    messages,
    seed,
    logit_bias: fewBlanks(),
    response_format: {
      type: 'json_schema',
      json_schema: { name: 'answer', schema: schema as Record<string, unknown> },
    },
  });
}

test('answers are valid under 100 schemas made by chance', async () => {
  const maker = new SchemaMaker(20);
  const schemas = Array.from({ length: 100 }, () => maker.object(1));
  const answers = await Promise.all(schemas.slice(0, 60).map(demand));
  answers.push(
    ...(await Promise.all(schemas.slice(60).map((schema, i) => demand(schema, 60 + i)))),
  );
  for (const [index, { choices }] of answers.entries()) {
    const text = choices[0]?.message.content ?? '';
    const told = `${JSON.stringify(schemas[index])}\n${text}`;
    assert.equal(choices[0]?.finish_reason, 'stop', told);
    const validate = ajv.compile(schemas[index] ?? {});
    assert.ok(validate(parsed(text, told)), `${told}\n${ajv.errorsText(validate.errors)}`);
  }
});

test('references, and objects that name no properties', async () => {
  const schema = {
    type: 'object',
    properties: { left: { $ref: '#/$defs/leaf' }, right: { $ref: '#/$defs/leaf' } },
    required: ['left', 'right'],
    additionalProperties: false,
    $defs: { leaf: { type: 'array', items: { enum: [1, 2] }, minItems: 1, maxItems: 2 } },
  };
  const answer = await demand(schema, 1);
  assert.ok(ajv.compile(schema)(JSON.parse(answer.choices[0]?.message.content ?? '')));
  const any = await at.client.chat.completions.create({
    ...{ model, messages, seed: 3, max_tokens: 60 },
    response_format: { type: 'json_object' },
  });
  const text = any.choices[0]?.message.content ?? '';
  assert.match(text, /^\{/);
  if (any.choices[0]?.finish_reason === 'stop') JSON.parse(text);
});

test('a schema that the engine fails at is refused, and who is under way goes on', async () => {
  const slow = demand(new SchemaMaker(4).object(), 4);
  // Valid as a schema, and more than the engine can bear.
  const pattern = '^((a{900}){900}){900}$';
  const huge = { type: 'object', properties: { a: { type: 'string', pattern } }, required: ['a'] };
  await assert.rejects(demand(huge, 1), { status: 400, param: 'response_format' });
  assert.equal((await slow).choices[0]?.finish_reason, 'stop');
});

const tools: ChatCompletionTool[] = ['weather', 'time'].map((name) => ({
  type: 'function',
  function: {
    name,
    parameters: {
      type: 'object',
      properties: {
        city: { enum: ['Rome', 'Oslo'] },
        days: { type: 'integer', minimum: 1, maximum: 9 },
      },
      required: ['city'],
      additionalProperties: false,
    },
  },
}));

const asked = { model, messages, tools, seed: 5 };

test('a call that is demanded is made, by name or any', async () => {
  for (const choice of ['required', { type: 'function', function: { name: 'time' } }] as const) {
    const answer = await at.client.chat.completions.create({
      ...{ ...asked, tool_choice: choice, parallel_tool_calls: false, logit_bias: fewBlanks() },
    });
    assertAnswers('ChatCompletion', answer);
    const [{ message, finish_reason: finish } = assert.fail()] = answer.choices;
    assert.equal(finish, 'tool_calls', JSON.stringify(message));
    assert.equal(message.content, null);
    assert.equal(message.tool_calls?.length, 1);
    const call = message.tool_calls?.[0];
    assert.ok(call?.type === 'function');
    if (choice !== 'required') assert.equal(call.function.name, 'time');
    const { city, days = 1 } = JSON.parse(call.function.arguments) as {
      city: string;
      days?: number;
    };
    assert.ok(['Rome', 'Oslo'].includes(city) && days >= 1 && days <= 9);

    const stream = await at.client.chat.completions.create({
      ...{ ...asked, tool_choice: choice, parallel_tool_calls: false, logit_bias: fewBlanks() },
      stream: true,
    });
    const parts = [];
    for await (const chunk of stream) {
      assertAnswers('ChatCompletionChunk', chunk);
      assert.equal(chunk.choices[0]?.delta.content ?? '', '');
      parts.push(...(chunk.choices[0]?.delta.tool_calls ?? []));
    }
    assert.deepEqual(
      parts.map((part) => part.function?.arguments),
      [call.function.arguments],
    );
    // The conversation goes on with the call and its result.
    const next = await at.client.chat.completions.create({
      model,
      tools,
      max_tokens: 4,
      messages: [
        ...messages,
        message,
        { role: 'tool', tool_call_id: call.id, content: '20 degrees' },
      ],
    });
    assert.equal(next.usage?.completion_tokens, 4);
  }
});

test('without a demand, tools may be left alone', async () => {
  const { choices } = await at.client.chat.completions.create({
    ...{ model, messages, tools, seed: 5, max_tokens: 8 },
  });
  assert.equal(choices[0]?.message.tool_calls, undefined);
  assert.ok((choices[0]?.message.content ?? '') !== '');
});
