/** Every component of a tokenizer.json, and tokens of other files, against the reference implementations. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readBpeFiles } from '../../src/tokenizer/from-bpe-files.ts';
import { Pipeline } from '../../src/tokenizer/pipeline/pipeline.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { checkTokenizerJson } from '../../src/tokenizer/tokenizer-json.ts';
import { directoryWith, readFixture } from './support.ts';

type Json = Readonly<Record<string, unknown>>;
/** Ids by text; null where the reference itself fails. */
type Ids = readonly (readonly number[] | null)[];

interface Variants {
  readonly texts: readonly string[];
  readonly base: Json & { readonly model: Json };
  readonly models: Readonly<Record<string, Json>>;
  readonly variants: readonly {
    readonly name: string;
    readonly parts: Json & { readonly model?: string };
    readonly ids: Ids;
    readonly decoded?: readonly (string | null)[];
  }[];
}

const { texts, base, models, variants } = JSON.parse(
  await readFixture('tokenizers', 'variants.json'),
) as Variants;

for (const { name, parts, ids, decoded } of variants) {
  test(name, () => {
    const model = parts.model === undefined ? base.model : models[parts.model];
    const json = checkTokenizerJson({ ...base, ...parts, model }, 'tokenizer.json');
    const pipeline = new Pipeline(json, 'tokenizer.json');
    for (const [index, text] of texts.entries()) {
      const expected = ids[index];
      if (expected === null || expected === undefined) continue;
      assert.deepEqual(pipeline.encode(text, { addSpecial: true }), expected, JSON.stringify(text));
      if (decoded !== undefined) assert.equal(pipeline.decode(expected), decoded[index]);
    }
  });
}

interface Directory {
  readonly name: string;
  readonly files: Json;
  readonly ids: Ids;
}

interface Directories {
  readonly texts: readonly string[];
  readonly 'tokenizer.json': Json;
  readonly files: readonly Directory[];
  readonly bpeFiles: Json;
  readonly classes: readonly Directory[];
}

const directories = JSON.parse(await readFixture('tokenizers', 'directories.json')) as Directories;

for (const { name, files, ids } of directories.files) {
  test(`tokens of other files: ${name}`, async (t) => {
    const dir = await directoryWith(t, {
      ...files,
      'tokenizer.json': directories['tokenizer.json'],
    });
    const tokenizer = await loadTokenizer(dir);
    for (const [index, text] of directories.texts.entries()) {
      assert.deepEqual(tokenizer.encode(text), ids[index], JSON.stringify(text));
    }
  });
}

for (const { name, files, ids } of directories.classes) {
  test(`vocab.json and merges.txt: ${name}`, async (t) => {
    const dir = await directoryWith(t, { ...files, ...directories.bpeFiles });
    const made = { ...files, 'tokenizer.json': await readBpeFiles(dir) };
    const tokenizer = await loadTokenizer(await directoryWith(t, made));
    for (const [index, text] of directories.texts.entries()) {
      // An empty prompt begins with BOS, whatever the tokenizer does.
      if (text === '') continue;
      assert.deepEqual(tokenizer.encodePrompt(text), ids[index], JSON.stringify(text));
    }
  });
}
