/** Texts in pieces have the ids that the whole has, wherever a tokenizer lets them be cut. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { InputError } from '../../src/errors.ts';
import { PieceEncoder } from '../../src/tokenizer/pieces.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { fixture, gpt2, randomFrom, randomText, readFixture } from './support.ts';

/** In contexts: 4 pieces and more of each text. */
const pieces = 3;
const units = 6000;
const random = randomFrom(7);

const drawn = (characters: string): string => {
  const all = [...characters];
  let text = '';
  while (text.length < units) text += all[Math.floor(random() * all.length)];
  return text;
};
const run = (text: string) => text.repeat(units / text.length);
const stories = (await readFixture('text', 'valid.txt')).replaceAll('<|endoftext|>', '***');
const prose = stories.slice(0, units);

const texts: Readonly<Record<string, string>> = {
  prose,
  'one line': prose.replaceAll('\n', ' '),
  'one word': prose.replace(/\s/g, ''),
  'lines of Windows': prose.replaceAll('\n', '\r\n'),
  'one letter': run('a'),
  'one letter behind others': `begin 12 ${run('a')}b`,
  spaces: run(' '),
  'spaces between letters': `x${run(' ')}y`,
  newlines: run('\n'),
  tabs: run('\t'),
  digits: drawn('0123456789'),
  'one digit behind others': `ab ${run('7')}`,
  apostrophes: run("it's we're 'll"),
  signs: run('='),
  Cyrillic: drawn('абвгдежзиклмнопрстуфхцчшщыэюя   .\n'),
  'Cyrillic, one word': drawn('абвгдежзиклмнопрстуфхцчшщыэюя'),
  Chinese: drawn('的一是不了人我在有他这中大来上国，。'),
  emoji: `x${run('😀👍🏽')}`,
  'letters and marks': run('e\u0301'),
  'letters of three': drawn('abc'),
  'special tokens': run('<s></s><|endoftext|><unk>  '),
  'byte order marks': run('\ufeff'),
  'zero bytes': run('\0'),
  mixed: drawn("a1 .\n'Bé我\t"),
  anything: randomText(random, units / 2),
};

/** What a tokenizer has no ids for is nothing to compare. */
function encodable(encode: (text: string) => number[], text: string): number[] | null {
  try {
    return encode(text);
  } catch (error) {
    assert.ok(error instanceof InputError);
    return null;
  }
}

function inPieces(
  encode: (text: string) => readonly number[],
  text: string,
  partUnits: number,
): { readonly ids: readonly number[]; readonly count: number; readonly longest: number } {
  let longest = 0;
  const encoder = new PieceEncoder(
    (part) => {
      longest = Math.max(longest, part.length);
      return encode(part);
    },
    'text',
    pieces,
  );
  const found: (readonly number[])[] = [];
  for (let at = 0; at < text.length; at += partUnits) {
    for (const ids of encoder.push(text.slice(at, at + partUnits))) found.push(ids);
  }
  found.push(encoder.end());
  return { ids: found.flat(), count: found.length, longest };
}

const families = ['llama2', 'llama3', 'mistral', 'qwen2', 'phi', 'falcon'];
const directories = ['stories-opt', ...families.map((name) => `tokenizers/${name}`)];

for (const directory of directories) {
  describe(`the tokenizer of ${directory}`, async () => {
    const tokenizer = await loadTokenizer(fixture(directory));
    for (const [name, text] of Object.entries(texts)) {
      test(name, () => {
        const whole = encodable((part) => tokenizer.encode(part), text);
        if (whole === null) return;
        const { ids, count, longest } = inPieces((part) => tokenizer.encode(part), text, 1000);
        assert.deepEqual(ids, whole);
        assert.ok(count >= 3, `${count} pieces`);
        assert.ok(longest < text.length / 2, `${longest} of ${text.length} at once`);
      });
    }
  });
}

test("GPT-2's tokenizer, whose merges are long", async (t) => {
  const tokenizer = await gpt2(t);
  for (const [name, text] of Object.entries(texts)) {
    const { ids } = inPieces((part) => tokenizer.encode(part), text, 777);
    assert.deepEqual(ids, tokenizer.encode(text), name);
  }
});

test('a text that cannot be cut anywhere is refused when it gets too long', () => {
  // A word that is one token however long it is.
  const encode = (text: string) => [text.length];
  const text = 'a'.repeat(100_000);
  assert.throws(
    () => inPieces(encode, text, 1000),
    (error) => error instanceof InputError && /a run of \d+ characters/.test(error.line),
  );
  const short = 'a'.repeat(5000);
  assert.deepEqual(inPieces(encode, short, 1000).ids, [5000]);
});
