/** Against the ids that llama.cpp ships for GPT-2's vocabulary. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gpt2, randomFrom, randomText, readFixture } from './support.ts';

test('every reference text gets the reference ids', async (t) => {
  const tokenizer = await gpt2(t);
  const input = await readFixture('gpt2', 'ggml-vocab-gpt-2.gguf.inp');
  const output = await readFixture('gpt2', 'ggml-vocab-gpt-2.gguf.out');
  const texts = input.split('\n__ggml_vocab_test__\n');
  const lines = output.split('\n');
  // Each file ends with a separator, behind which there is nothing.
  assert.equal(texts.pop(), '');
  assert.equal(lines.pop(), '');
  assert.equal(texts.length, 46);
  assert.equal(lines.length, texts.length);
  for (const [index, text] of texts.entries()) {
    const expected = (lines[index] ?? '').split(' ').filter(Boolean).map(Number);
    assert.deepEqual(tokenizer.encode(text), expected, JSON.stringify(text));
    assert.equal(tokenizer.decode(expected), text);
  }
});

test('any text comes back from its ids', async (t) => {
  const tokenizer = await gpt2(t);
  const random = randomFrom(1);
  for (let i = 0; i < 400; i++) {
    const text = randomText(random, Math.floor(random() * 80));
    assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
  }
});

test('blanks are what Unicode calls blank', async (t) => {
  const tokenizer = await gpt2(t);
  // U+0085 is a blank: two of them split before the last. U+FEFF is none: the pair stays together.
  assert.deepEqual(
    tokenizer.encode('\u0085\u0085a'),
    [...'\u0085\u0085'].flatMap((blank) => tokenizer.encode(blank)).concat(tokenizer.encode('a')),
  );
  assert.deepEqual(tokenizer.encode(' \ufeff'), [27332, 119, 123]);
});

test('the default special token is known without any configuration', async (t) => {
  const tokenizer = await gpt2(t);
  assert.deepEqual(tokenizer.encode('a<|endoftext|>b'), [64, 50256, 65]);
  assert.equal(tokenizer.vocabularySize, 50257);
  assert.equal(tokenizer.bosId, undefined);
  assert.deepEqual(tokenizer.encodePrompt(''), []);
});
