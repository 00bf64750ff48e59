/** What a line asks for, and why it is refused. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import type { Line } from '../../src/batch/lines.ts';
import { readLine } from '../../src/batch/read-line.ts';
import { Refusal } from '../../src/openai/refusal.ts';
import { chatRequest, request } from './support.ts';

function lineOf(content: string | Uint8Array): Line {
  const bytes = Buffer.from(content);
  const digest = createHash('sha256').update(bytes).digest();
  return { number: 1, offset: 0, length: bytes.length, bytes, digest, ended: true };
}

const usual = {
  maxTokens: undefined,
  sampling: { temperature: 1, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1 },
  stop: [],
};

function asked(prompt: unknown, body: object = {}) {
  const { customId, call } = readLine(lineOf(request('a', prompt, body)));
  assert.equal(customId, 'a');
  if (call instanceof Refusal) throw call;
  return call.request;
}

describe('a request', () => {
  it('has the defaults of the API', () => {
    assert.deepEqual(asked('hi'), { ...usual, prompt: 'hi' });
    assert.deepEqual(asked(['hi']), { ...usual, prompt: 'hi' });
    assert.deepEqual(asked([1, 2]), { ...usual, prompt: [1, 2] });
    assert.deepEqual(asked(''), { ...usual, prompt: '' });
  });

  it('says how it is sampled', () => {
    const sampling = { temperature: 0.5, top_p: 0.9, top_k: 3, min_p: 0.1, repetition_penalty: 2 };
    assert.deepEqual(asked('x', { ...sampling, seed: -5, max_tokens: 0, stop: 'y' }), {
      prompt: 'x',
      maxTokens: 0,
      sampling: {
        temperature: 0.5,
        topP: 0.9,
        topK: 3,
        minP: 0.1,
        repetitionPenalty: 2,
        seed: -5,
      },
      stop: ['y'],
    });
  });

  it('may hold what asks for nothing, and what changes nothing', () => {
    const neutral = {
      ...{ n: 1, best_of: 1, echo: false, stream: false, suffix: '', logit_bias: {} },
      ...{ presence_penalty: 0, frequency_penalty: 0, logprobs: null, temperature: null },
      ...{ user: 'u', metadata: { a: 1 }, model: 'gpt', stop: null, anything: null },
    };
    assert.deepEqual(asked('x', neutral), { ...usual, prompt: 'x' });
  });
});

describe('a line', () => {
  const chat = { messages: [{ role: 'user', content: 'Hi' }] };
  const whole = (change: object) =>
    JSON.stringify({ ...(JSON.parse(request('a', 'x')) as object), ...change });
  const cases: readonly (readonly [string | Uint8Array, string, string | null, RegExp])[] = [
    ['{', 'invalid_json_line', null, /not valid JSON/],
    ['[]', 'invalid_json_line', null, /not a JSON object: \[\]/],
    ['null', 'invalid_json_line', null, /not a JSON object: null/],
    ['['.repeat(1000), 'invalid_json_line', null, /nested more than/],
    [`{"a":[${'{},'.repeat(1024)}{}]}`, 'invalid_json_line', null, /more than 1024 arrays/],
    [Uint8Array.of(0x22, 0xff, 0x22), 'invalid_json_line', null, /UTF-8/],
    ['{}', 'missing_custom_id', null, /'custom_id' is missing/],
    [whole({ custom_id: 3 }), 'invalid_custom_id', null, /not 3$/],
    [whole({ custom_id: '' }), 'invalid_custom_id', null, /1 to 1024 characters/],
    [whole({ custom_id: 'x'.repeat(1025) }), 'invalid_custom_id', null, /1 to 1024/],
    [whole({ method: 'GET' }), 'invalid_method', 'a', /POST, not "GET"/],
    [whole({ url: '/v1/responses' }), 'unsupported_endpoint', 'a', /use \/v1\/chat\/completions/],
    [whole({ url: '/v1/chat/completions' }), 'unknown_parameter', 'a', /"prompt" is unknown/],
    [chatRequest('a', {}), 'missing_parameter', 'a', /'messages' is missing/],
    [chatRequest('a', { ...chat, stream: true }), 'unsupported_parameter', 'a', /'stream' of true/],
    [chatRequest('a', { ...chat, logprobs: true }), 'unsupported_parameter', 'a', /'logprobs' of/],
    [
      chatRequest('a', { ...chat, top_logprobs: 1 }),
      'unsupported_parameter',
      'a',
      /'top_logprobs'/,
    ],
    [chatRequest('a', { ...chat, n: 17 }), 'invalid_value', 'a', /'n' must be .* 1 to 16/],
    [whole({ url: '/v2' }), 'invalid_url', 'a', /\/v1\/completions, not "\/v2"/],
    [whole({ url: 'constructor' }), 'invalid_url', 'a', /not "constructor"/],
    [whole({ body: [] }), 'invalid_value', 'a', /'body' must be an object/],
    [whole({ body: {} }), 'missing_parameter', 'a', /'prompt' is missing/],
    [request('a', 5), 'invalid_value', 'a', /'prompt' must be/],
    [request('a', []), 'unsupported_parameter', 'a', /list of 0/],
    [
      request('a', ['x', 'y']),
      'unsupported_parameter',
      'a',
      /list of 2: send one request for each/,
    ],
    [request('a', [1, 'y']), 'invalid_value', 'a', /'prompt' must be/],
    [request('a', 'x', { n: 2 }), 'unsupported_parameter', 'a', /'n' of 2/],
    [request('a', 'x', { best_of: 2 }), 'unsupported_parameter', 'a', /'best_of'/],
    [request('a', 'x', { logprobs: 0 }), 'unsupported_parameter', 'a', /'logprobs'/],
    [request('a', 'x', { echo: true }), 'unsupported_parameter', 'a', /'echo'/],
    [request('a', 'x', { suffix: 's' }), 'unsupported_parameter', 'a', /'suffix'/],
    [request('a', 'x', { logit_bias: { 5: 1 } }), 'unsupported_parameter', 'a', /'logit_bias'/],
    [request('a', 'x', { stream: true }), 'unsupported_parameter', 'a', /'stream'/],
    [request('a', 'x', { presence_penalty: 1 }), 'unsupported_parameter', 'a', /'presence/],
    [request('a', 'x', { max_token: 1 }), 'unknown_parameter', 'a', /"max_token" is unknown/],
    [request('a', 'x', { toString: 1 }), 'unknown_parameter', 'a', /"toString" is unknown/],
    [request('a', 'x', { temperature: 3 }), 'invalid_value', 'a', /from 0 to 2, not 3/],
    [request('a', 'x', { temperature: '1' }), 'invalid_value', 'a', /not "1"/],
    [request('a', 'x', { max_tokens: 1.5 }), 'invalid_value', 'a', /whole number/],
    [request('a', 'x', { max_tokens: -1 }), 'invalid_value', 'a', /from 0 to/],
    [request('a', 'x', { top_p: 0 }), 'invalid_value', 'a', /'top_p'/],
    [request('a', 'x', { stop: [1] }), 'invalid_value', 'a', /'stop'/],
    [request('a', 'x', { stop: Array(17).fill('x') }), 'invalid_value', 'a', /at most 16/],
  ];
  for (const [content, code, id, says] of cases) {
    const name = Buffer.from(content).toString('latin1').slice(0, 90);
    it(`is refused: ${code}: ${name}`, () => {
      const { customId, call } = readLine(lineOf(content));
      assert.ok(call instanceof Refusal, 'it was taken');
      assert.equal(call.code, code);
      assert.equal(customId, id);
      assert.match(call.message, says);
      assert.equal(call.status === null, id === null, `status ${call.status}`);
    });
  }

  it('is refused when it is too long to be kept', () => {
    const { call } = readLine({ ...lineOf('x'), bytes: null, length: 2 ** 20 + 1 });
    assert.ok(call instanceof Refusal);
    assert.equal(call.code, 'line_too_long');
    assert.match(call.message, /1048577 bytes; the limit is 1048576/);
  });
});
