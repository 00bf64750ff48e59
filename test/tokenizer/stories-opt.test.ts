/** The bundled model's tokenizer, as it comes and as made from vocab.json and merges.txt. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readBpeFiles } from '../../src/tokenizer/from-bpe-files.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { directoryWith, fixture, randomFrom, randomText, readFixture } from './support.ts';

interface Reference {
  readonly prompts: readonly {
    readonly name: string;
    readonly text: string;
    readonly ids: readonly number[];
    readonly greedy_ids: readonly number[];
    readonly greedy_text: string;
  }[];
}

const dir = fixture('stories-opt');
const reference: Reference = JSON.parse(await readFixture('reference', 'prompts.json'));

describe('the reference prompts', () => {
  test('from tokenizer.json', async () => {
    const tokenizer = await loadTokenizer(dir);
    assert.equal(reference.prompts.length, 6);
    for (const { name, text, ids, greedy_ids, greedy_text } of reference.prompts) {
      assert.deepEqual(tokenizer.encodePrompt(text), ids, name);
      assert.equal(tokenizer.decode(greedy_ids, { skipSpecial: true }), greedy_text, name);
    }
  });

  test('from vocab.json and merges.txt', async (t) => {
    const json = await readBpeFiles(dir);
    const made = await directoryWith(t, {
      'tokenizer.json': json,
      'tokenizer_config.json': await readFixture('stories-opt', 'tokenizer_config.json'),
    });
    const tokenizer = await loadTokenizer(made);
    for (const { name, text, ids } of reference.prompts) {
      assert.deepEqual(tokenizer.encodePrompt(text), ids, name);
    }
  });
});

test('the tokenizer.json that is made is the one that the model has', async () => {
  const own = JSON.parse(await readFixture('stories-opt', 'tokenizer.json'));
  assert.deepEqual(JSON.parse(JSON.stringify(await readBpeFiles(dir))), own);
});

test('the special ids and the size', async () => {
  const tokenizer = await loadTokenizer(dir);
  assert.equal(tokenizer.bosId, 2);
  assert.deepEqual(tokenizer.eosIds, [2]);
  assert.equal(tokenizer.vocabularySize, 2048);
});

test('a prompt is taken verbatim, an empty one is BOS alone', async () => {
  const tokenizer = await loadTokenizer(dir);
  assert.deepEqual(tokenizer.encodePrompt(''), [2]);
  for (const text of [' a', 'a\n', '\n a \n', 'a']) {
    const ids = tokenizer.encodePrompt(text);
    assert.equal(ids[0], 2);
    assert.equal(tokenizer.decode(ids.slice(1)), text);
  }
});

test('special tokens written out in a prompt become their ids', async () => {
  const tokenizer = await loadTokenizer(dir);
  const a = tokenizer.encode('a');
  assert.deepEqual(tokenizer.encodePrompt('a</s>a<pad>'), [2, ...a, 2, ...a, 1]);
  assert.deepEqual(tokenizer.encodePrompt('</s>'), [2, 2]);
  assert.ok(!tokenizer.encode('</ s>').includes(2));
});

test('special tokens can be left out of the text', async () => {
  const tokenizer = await loadTokenizer(dir);
  const ids = tokenizer.encodePrompt('one</s> two');
  assert.equal(tokenizer.decode(ids), '</s>one</s> two');
  assert.equal(tokenizer.decode(ids, { skipSpecial: true }), 'one two');
  assert.equal(tokenizer.decode([2], { skipSpecial: true }), '');
});

test('ids beyond the vocabulary have no text', async () => {
  const tokenizer = await loadTokenizer(dir);
  const ids = tokenizer.encode('hello');
  assert.equal(tokenizer.decode([2048, ...ids, 9999, -1]), 'hello');
  assert.equal(tokenizer.decode([]), '');
});

test('any text comes back from its ids', async () => {
  const tokenizer = await loadTokenizer(dir);
  const random = randomFrom(2);
  for (let i = 0; i < 300; i++) {
    const text = randomText(random, Math.floor(random() * 60));
    assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
  }
  // Half of a surrogate pair is no character; as everywhere, U+FFFD stands for it.
  assert.equal(tokenizer.decode(tokenizer.encode('a\ud800b')), 'a\ufffdb');
});
