/** Chats of a batch: their answers are those of the server. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Engine } from '../../src/batch/engine.ts';
import { RuntimeEngine } from '../../src/batch/runtime-engine.ts';
import { batchBytes, surveyInput } from '../../src/batch/survey.ts';
import { type ChatTemplates, templatesInFile } from '../../src/chat/chat-templates.ts';
import { Model } from '../../src/engine/model.ts';
import { Runtime } from '../../src/engine/runtime.ts';
import { chatTextBytes } from '../../src/openai/chat-prompt.ts';
import { openRegular } from '../../src/regular-file.ts';
import { assertAnswers } from '../serve/answers.ts';
import { startServer, storiesModel, type TestServer } from '../serve/support.ts';
import { chatml } from '../serve/template.ts';
import { temporaryRoot } from '../support/temporary.ts';
import {
  batchFiles,
  chatRequest,
  parseResults,
  type Result,
  RuleEngine,
  request,
  runOnce,
} from './support.ts';

const root = temporaryRoot();
const context = 512;
let served: TestServer;
let model: Model;
let runtime: Runtime;
let templates: ChatTemplates;

before(async () => {
  const dir = await storiesModel(root);
  served = await startServer(root, dir, { context });
  model = await Model.open(dir);
  runtime = await Runtime.open(model, { budget: 2 ** 31, context, sequences: 4, threads: 1 });
  const file = join(root.directory(), 'template.jinja');
  writeFileSync(file, chatml);
  templates = await templatesInFile(file, model.tokenizer.roles);
});
after(async () => {
  await served.close();
  await runtime.close();
  model.close();
});

const messages = [
  { role: 'system', content: 'You tell stories.' },
  { role: 'user', content: [{ type: 'text', text: 'Of a dog' }] },
];
const tool = (name: string) => ({
  type: 'function',
  function: {
    name,
    parameters: {
      type: 'object',
      properties: { far: { enum: [1, 2] } },
      required: ['far'],
      additionalProperties: false,
    },
  },
});
const tools = [tool('walk'), tool('run')];
const yesOrNo = { name: 'answer', schema: { enum: ['yes', 'no'] } };

/** Bodies by name, with what the answer must have. */
const bodies: Readonly<Record<string, object>> = {
  greedy: { temperature: 0, max_tokens: 24, user: 'me' },
  sampled: { seed: 5, max_completion_tokens: 24, max_tokens: 3 },
  negative: { seed: -5, max_tokens: 8, top_p: 0.9 },
  several: { seed: 7, n: 3, max_tokens: 12 },
  stopped: { temperature: 0, max_tokens: 40, stop: ['.', 'the'] },
  steered: { seed: 3, max_tokens: 24, frequency_penalty: 1, logit_bias: { 277: 5 } },
  thought: { seed: 1, max_tokens: 16, chat_template_kwargs: { think: true } },
  offered: { seed: 2, max_tokens: 16, tools },
  demanded: { seed: 4, max_tokens: 300, tools, tool_choice: 'required' },
  named: {
    seed: 4,
    max_tokens: 300,
    tools,
    tool_choice: { type: 'function', function: tools[1]?.function },
  },
  schema: {
    seed: 6,
    max_tokens: 40,
    response_format: { type: 'json_schema', json_schema: yesOrNo },
  },
  object: { seed: 8, max_tokens: 60, response_format: { type: 'json_object' } },
  long: { max_tokens: 600 },
  unruly: {
    max_tokens: 9,
    response_format: { type: 'json_schema', json_schema: { schema: { type: 'no' } } },
  },
  mute: { max_tokens: 9, messages: [{ role: 'user', content: [{ type: 'image_url' }] }] },
};

const lines = Object.entries(bodies).map(([id, body]) => chatRequest(id, { messages, ...body }));

/** Results of lines by their name. */
async function answered(
  engine: Engine,
  all: readonly string[],
): Promise<ReadonlyMap<string | null, Result>> {
  const files = batchFiles(root.directory(), all);
  await runOnce(files, { engine, parallel: 2 });
  const results = parseResults(readFileSync(files.output, 'utf8'));
  return new Map(results.map((result) => [result.custom_id, result]));
}

/** Choices without the ids of calls, which are made by chance. */
const plain = (choices: unknown) => JSON.stringify(choices).replace(/"call_[0-9a-f]+"/g, '""');

describe('chats of a batch', () => {
  it('are answered as the server answers them', async (t) => {
    const engine = new RuntimeEngine(
      runtime,
      { model: 'm', fingerprint: 'fp_0123456789ab' },
      { templates },
    );
    t.after(() => engine.close());
    const results = await answered(engine, lines);
    for (const [id, body] of Object.entries(bodies)) {
      const response = await fetch(`${served.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ messages, ...body }),
      });
      const said = (await response.json()) as NonNullable<Result['response']>['body'];
      const mine = results.get(id)?.response;
      assert.equal(mine?.status_code, response.status, id);
      assert.equal(mine?.body.error?.message, said.error?.message, id);
      if (response.status !== 200) continue;
      assert.equal(plain(mine?.body.choices), plain(said.choices), id);
      for (const part of ['prompt_tokens', 'completion_tokens', 'total_tokens']) {
        assert.equal(mine?.body.usage?.[part], said.usage?.[part], `${id} ${part}`);
      }
      // A batch does not tell what of a prompt was computed before.
      assertAnswers('ChatCompletion', { ...mine?.body, usage: said.usage });
    }
    // What the comparison would be worth nothing without.
    const choicesOf = (id: string) => results.get(id)?.response?.body.choices ?? [];
    const refused = [...results.values()].flatMap(({ error, custom_id }) =>
      error === null ? [] : [custom_id],
    );
    assert.deepEqual(refused.sort(), ['long', 'mute', 'unruly']);
    assert.equal(new Set(choicesOf('several').map(({ message }) => message?.content)).size, 3);
    assert.ok(choicesOf('thought')[0]?.message?.reasoning_content);
    assert.equal(choicesOf('demanded')[0]?.finish_reason, 'tool_calls');
    assert.equal(choicesOf('named')[0]?.message?.tool_calls?.[0]?.function.name, 'run');
    assert.match(String(choicesOf('schema')[0]?.message?.content), /^"(yes|no)"$/);
    assert.match(String(choicesOf('object')[0]?.message?.content), /^\{/);
  });

  it('are refused by a model without a template, and its completions are not', async (t) => {
    const engine = new RuntimeEngine(runtime, { model: 'm', fingerprint: 'fp_0123456789ab' });
    t.after(() => engine.close());
    const results = await answered(engine, [
      ...lines.slice(0, 1),
      request('text', 'The dog', { max_tokens: 4 }),
    ]);
    assert.match(results.get('greedy')?.error?.message ?? '', /no chat template: .* --template/);
    assert.equal(results.get('text')?.error, null);
  });

  it('are resumed with seeds of their own', async () => {
    const engine = new RuleEngine();
    const files = batchFiles(root.directory(), [
      chatRequest('a', { messages, n: 2 }),
      chatRequest('b', { messages }),
    ]);
    await runOnce(files, { engine, parallel: 1 });
    const [first = 0, second, other] = engine.calls.map(({ sampling }) => sampling.seed);
    assert.equal(second, first + 1);
    const [line = ''] = readFileSync(files.output, 'utf8').split('\n');
    writeFileSync(files.output, `${line}\n`);
    const again = new RuleEngine();
    assert.equal((await runOnce(files, { engine: again })).before, 1);
    assert.deepEqual(
      again.calls.map(({ sampling }) => sampling.seed),
      [other],
    );
  });

  it('are surveyed: positions, logits, and memory', async () => {
    const survey = async (id: string) => {
      const { input: path } = batchFiles(root.directory(), [
        chatRequest(id, { messages, ...bodies[id] }),
      ]);
      const source = await openRegular(path);
      try {
        const bytes = (await source.stat()).size;
        return await surveyInput(
          { path, source, bytes },
          {
            maxTokens: 16,
            measureChat: async (asked) => chatTextBytes(asked, templates),
            signal: new AbortController().signal,
            onProgress: () => {},
          },
        );
      } finally {
        await source.close();
      }
    };
    const bytesOf = (some: Awaited<ReturnType<typeof survey>>) =>
      batchBytes(some, { parallel: 2, context, vocabSize: 2048 });
    const [greedy, several, steered, schema, mute] = await Promise.all(
      ['greedy', 'several', 'steered', 'schema', 'mute'].map(survey),
    );
    assert.ok(greedy && several && steered && schema && mute);
    const text = templates.choose(false).render([
      { role: 'system', content: 'You tell stories.' },
      { role: 'user', content: 'Of a dog' },
    ]);
    assert.equal(greedy.positions, Buffer.byteLength(text) + 32 + 24 - 1);
    assert.deepEqual(
      [greedy, several, steered, schema].map(({ bestLogits }) => bestLogits),
      [1, 40, null, null],
    );
    assert.deepEqual([greedy.template, greedy.grammar, several.answers], [true, false, 3]);
    assert.equal(mute.template, false);
    assert.ok(bytesOf(greedy) > bytesOf(mute) + 12 * 2 ** 20);
    assert.ok(bytesOf(several) > bytesOf(greedy));
    assert.ok(bytesOf(schema) > bytesOf(greedy) + 40 * 2 ** 20);
  });
});
