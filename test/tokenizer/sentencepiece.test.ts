/** SentencePiece models, tokenizer.model, against that library. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readSideFiles } from '../../src/convert/side-files.ts';
import { writeSideFiles } from '../../src/convert/write-side-files.ts';
import { InputError } from '../../src/errors.ts';
import type { ModelSpec } from '../../src/models/spec.ts';
import { CharacterMap } from '../../src/tokenizer/pipeline/charsmap.ts';
import { normalizerOf } from '../../src/tokenizer/pipeline/normalizers.ts';
import { Part } from '../../src/tokenizer/pipeline/part.ts';
import { tokenizerJsonFromModel } from '../../src/tokenizer/sentencepiece/from-model-file.ts';
import { parseSentencePiece } from '../../src/tokenizer/sentencepiece/model-file.ts';
import type { TokenFiles } from '../../src/tokenizer/special-tokens.ts';
import { readTokenCache } from '../../src/tokenizer/token-cache.ts';
import { pipelineTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { checkTokenizerJson } from '../../src/tokenizer/tokenizer-json.ts';
import { refusal } from '../checkpoint/helpers.ts';
import { directoryWith, fixture, randomFrom } from './support.ts';

interface Cases {
  readonly texts: readonly string[];
  readonly ids: readonly (readonly number[])[];
  readonly decoded: readonly (string | null)[];
}

const file = 'tokenizer.model';

function bytesOf(name: string): Buffer {
  return readFileSync(fixture('sentencepiece', `${name}.model`));
}

function fixtureOf<T>(name: string): T {
  return JSON.parse(readFileSync(fixture('sentencepiece', `${name}.json`), 'utf8')) as T;
}

/** The tokenizer of a model, by way of the text of its tokenizer.json. */
function load(bytes: Buffer, files: TokenFiles = {}): Tokenizer {
  const made = tokenizerJsonFromModel(parseSentencePiece(bytes, file), files, file);
  const json = checkTokenizerJson(JSON.parse(JSON.stringify(made)), file);
  return pipelineTokenizer({ json, file, files }, {}).tokenizer;
}

const names = readdirSync(fixture('sentencepiece'))
  .filter((name) => name.endsWith('.model'))
  .map((name) => name.slice(0, -'.model'.length));

for (const name of names) {
  test(`${name}: ids and texts are those of the library`, () => {
    const tokenizer = load(bytesOf(name));
    const { texts, ids, decoded } = fixtureOf<Cases>(name);
    assert.ok(texts.length > 90);
    for (const [index, text] of texts.entries()) {
      assert.deepEqual(tokenizer.encode(text), ids[index], JSON.stringify(text));
      const expected = decoded[index];
      if (expected === null) continue;
      assert.equal(tokenizer.decode(ids[index] ?? []), expected, JSON.stringify(text));
    }
  });
}

interface Directories {
  readonly texts: readonly string[];
  readonly directories: readonly {
    readonly name: string;
    readonly model: string;
    readonly files: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
    readonly ids: readonly (readonly number[])[];
  }[];
}

const { texts, directories } = fixtureOf<Directories>('directories');

for (const { name, model, files, ids } of directories) {
  test(`tokens of other files: ${name}`, () => {
    const tokenizer = load(bytesOf(model), {
      config: files['tokenizer_config.json'],
      tokensMap: files['special_tokens_map.json'],
      addedTokens: files['added_tokens.json'],
    });
    for (const [index, text] of texts.entries()) {
      assert.deepEqual(tokenizer.encodePrompt(text), ids[index], JSON.stringify(text));
    }
  });
}

test('Precompiled replaces what the reference replaces', () => {
  const { texts: all, normalized } = fixtureOf<{
    readonly texts: readonly string[];
    readonly normalized: Readonly<Record<string, readonly string[]>>;
  }>('precompiled');
  assert.ok(Object.keys(normalized).length > 2);
  for (const [name, expected] of Object.entries(normalized)) {
    const { charsmap } = parseSentencePiece(bytesOf(name), file).normalizer;
    const component = { type: 'Precompiled', precompiled_charsmap: charsmap.toString('base64') };
    const normalize = normalizerOf(new Part(component, 'normalizer', file));
    assert.deepEqual(
      all.map((text) => normalize(text, true)),
      expected,
      name,
    );
  }
});

test('without other files a text begins with BOS, where the model has one', () => {
  assert.equal(load(bytesOf('bpe-identity')).encodePrompt('a')[0], 1);
  assert.equal(load(bytesOf('bpe-rules-suffix')).bosId, 0);
  const without = load(bytesOf('unigram-identity'));
  assert.equal(without.bosId, undefined);
  assert.deepEqual(without.encodePrompt('a'), without.encode('a'));
});

test('a checkpoint with nothing but a tokenizer.model is read, and written as tokenizer.json', async (t) => {
  const dir = await directoryWith(t, {});
  await copyFile(fixture('sentencepiece', 'bpe-symbols.model'), join(dir, file));
  const spec = { eosIds: [2], vocabSize: 300 } as unknown as ModelSpec;
  const { files, cache } = await readSideFiles(dir, spec);
  assert.deepEqual([...files.keys()], ['tokenizer.json']);
  // What is kept beside tokenizer.json takes its place, with merges by token and symbols.
  const target = join(dir, 'model');
  await mkdir(target);
  const stored = await writeSideFiles({ files, cache }, target);
  const found = stored['tokenizer.json'];
  assert.ok(found !== undefined);
  const cached = await readTokenCache(target, found);
  assert.ok(cached !== null);
  const { json, tables } = cached;
  const { tokenizer } = pipelineTokenizer({ json, file, files: {}, ready: tables }, {});
  const { texts: all, ids } = fixtureOf<Cases>('bpe-symbols');
  assert.deepEqual(
    all.map((text) => tokenizer.encode(text)),
    ids,
  );
});

/** A field of Protocol Buffers with bytes as its value, or a number. */
function field(number: number, value: Buffer | string | number): Buffer {
  if (typeof value === 'number') return Buffer.from([number << 3, value]);
  const bytes = Buffer.from(value as string);
  assert.ok(bytes.length < 128 && number < 16);
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

const unknownPiece = field(1, Buffer.concat([field(1, '<unk>'), field(3, 2)]));

test('what is no SentencePiece model, or of a kind that is not supported, is refused', () => {
  const refused = (bytes: readonly Buffer[], pattern: RegExp) =>
    assert.throws(() => parseSentencePiece(Buffer.concat(bytes), file), refusal(pattern));
  const piece = (...fields: readonly Buffer[]) => field(1, Buffer.concat(fields));
  refused([Buffer.from('IQ== 0\nIg== 1\n')], /is a list of byte pairs \(tiktoken\)/);
  refused([], /has 0 pieces for unknown characters, but must have one/);
  refused(
    [unknownPiece, field(2, field(3, 3))],
    /the SentencePiece algorithm WORD is not supported/,
  );
  refused([unknownPiece, field(2, field(3, 9))], /the SentencePiece algorithm 9 is not supported/);
  refused(
    [unknownPiece, piece(field(1, 'a')), piece(field(1, 'a'))],
    /pieces 1 and 2 are both "a"/,
  );
  refused([unknownPiece, piece(field(1, ''))], /piece 1 is empty/);
  refused([unknownPiece, piece(field(1, Buffer.of(0xff)))], /piece 1 is not text in UTF-8/);
  refused([unknownPiece, piece(field(1, 'a'), field(3, 7))], /piece 1 is of kind 7/);
  refused(
    [Buffer.from([0x0a, 0x7f, 1])],
    /a field of 127 bytes, of which only 1 are present, at byte 0/,
  );
  refused(
    [unknownPiece, Buffer.from([0x0a])],
    new RegExp(`ends within a number at byte ${unknownPiece.length + 1}`),
  );
  refused([Buffer.from([0x0b])], /a field of wire type 3 at byte 0/);
  refused([Buffer.from([2, 0])], /a field has the number 0 at byte 0/);
  refused([Buffer.alloc(12, 0xff)], /a number is too long at byte 0/);
});

test('a damaged model is refused or another one, and no other error', () => {
  const whole = bytesOf('bpe-symbols');
  const random = randomFrom(20);
  for (let round = 0; round < 300; round++) {
    const bytes = Buffer.from(whole);
    const at = Math.floor(random() * bytes.length);
    const cut = round % 2 === 0 ? bytes.subarray(0, at) : bytes;
    if (cut === bytes) bytes[at] = Math.floor(random() * 256);
    try {
      load(cut).encode('a <x1> b\u4e2d');
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
    }
  }
});

test('a damaged table of characters is refused, or replaces otherwise', () => {
  const { charsmap } = parseSentencePiece(bytesOf('unigram-rules-suffix'), file).normalizer;
  const random = randomFrom(21);
  for (let round = 0; round < 300; round++) {
    const bytes = Buffer.from(charsmap.subarray(0, charsmap.length - (round % 7)));
    for (let k = 0; k < 3; k++)
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    try {
      const map = new CharacterMap(bytes);
      const text = new TextEncoder().encode('abcde\u00e9\u4e2d\u6587');
      for (let at = 0; at < text.length; at++) map.longest(text, at);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
});
