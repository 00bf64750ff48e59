/** Documents and prompts from texts that arrive in parts: the same ids, and no more read than used. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { documentParts, splitDocuments, windowsOf } from '../../src/engine/documents.ts';
import { encodePromptParts } from '../../src/engine/prompt.ts';
import { InterruptedError } from '../../src/errors.ts';
import { windowsFrom } from '../../src/predictor/windows.ts';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { storiesOpt, validText } from '../support/fixtures.ts';
import { Dice } from '../support/random.ts';
import { fixture } from '../tokenizer/support.ts';

const dice = new Dice(5);
const stories = readFileSync(validText, 'utf8');

let tokenizer: Tokenizer;
before(async () => {
  tokenizer = await loadTokenizer(storiesOpt);
});

async function* cut(text: string, most: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; ) {
    const length = dice.between(1, most);
    yield text.slice(at, at + length);
    at += length;
  }
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe('documents in parts', () => {
  const text = [
    '\ufeff\n\r\n',
    stories.slice(0, 40_000).replaceAll('<|endoftext|>', '***'),
    '\n\n<|endoftext|>\n<|endoftext|>\r\n',
    `one${'\r\n'.repeat(9000)}${'\n\r'.repeat(50)}two${'\n'.repeat(20_000)}`,
    '<|endoftext|>\nx <|endoftext|>\n\n\n<|endoftext|>',
  ].join('');

  test('have the windows of the whole, each document with its own', async () => {
    const length = 100;
    const expected = splitDocuments(text).flatMap((document) => {
      const ids = tokenizer.encode(document);
      const windows: number[][] = [];
      for (let at = 0; at < ids.length; at += length) windows.push(ids.slice(at, at + length));
      return windows;
    });
    for (const most of [30_000, 3000]) {
      const parts = documentParts(cut(text, most));
      assert.deepEqual(await all(windowsOf(parts, tokenizer, length)), expected);
    }
  });

  test('are as when they are looked for in the whole text', () => {
    const expected = text
      .replace(/^\ufeff/, '')
      .split(/(?:^|(?<=\n))<\|endoftext\|>(?=\r?\n|$)/)
      .map((document) => document.replace(/^[\r\n]+|[\r\n]+$/g, ''))
      .filter((document) => document !== '');
    assert.deepEqual(splitDocuments(text), expected);
  });

  test('are bounded, whatever the text', async () => {
    const endless = async function* () {
      for (let i = 0; i < 200; i++) yield '\n'.repeat(65536);
      yield 'the end';
    };
    let longest = 0;
    let units = 0;
    for await (const part of documentParts(endless())) {
      longest = Math.max(longest, part.text.length);
      units += part.text.length;
    }
    assert.equal(units, 'the end'.length);
    assert.ok(longest <= 65536);
  });

  test('are left when the user wants to stop', async () => {
    const controller = new AbortController();
    const windows = windowsOf([stories], tokenizer, 100, { signal: controller.signal });
    await windows.next();
    controller.abort();
    await assert.rejects(all(windows), InterruptedError);
  });
});

test('sample text is read no further than there are enough tokens', async () => {
  let read = 0;
  const endless = async function* () {
    for (;;) {
      read++;
      yield stories;
    }
  };
  const wanted = { bosId: 2, context: 64, mostTokens: 1000, file: 'text' };
  const windows = await windowsFrom(documentParts(endless()), tokenizer, wanted);
  assert.equal(windows.flat().length, 1000);
  assert.equal(read, 1);
});

describe('a prompt in parts', () => {
  const limits = { most: 1e6, file: 'prompt' };

  test('has the ids of the whole, long or short', async () => {
    for (const directory of ['stories-opt', 'tokenizers/llama2', 'tokenizers/qwen2']) {
      const own = await loadTokenizer(fixture(directory));
      for (const text of ['', 'Once', ' Once\n', stories.slice(0, 50_000)]) {
        const ids = await encodePromptParts(own, cut(text, 9000), limits);
        assert.deepEqual(ids, own.encodePrompt(text));
      }
    }
  });

  test('that does not end is refused as soon as it is too long', async () => {
    let read = 0;
    const endless = async function* () {
      for (;;) {
        read++;
        yield '\0'.repeat(65536);
      }
    };
    await assert.rejects(
      encodePromptParts(tokenizer, endless(), { most: 512, file: 'prompt' }),
      /the prompt has more than 512 tokens, the model's context 512/,
    );
    assert.ok(read <= 2);
  });
});
