/** SentencePiece models, tokenizer.model, against that library. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { tokenizerJsonFromModel } from '../../src/tokenizer/sentencepiece/from-model-file.ts';
import { parseSentencePiece } from '../../src/tokenizer/sentencepiece/model-file.ts';
import type { TokenFiles } from '../../src/tokenizer/special-tokens.ts';
import { pipelineTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { checkTokenizerJson } from '../../src/tokenizer/tokenizer-json.ts';
import { fixture } from './support.ts';

interface Cases {
  readonly texts: readonly string[];
  readonly ids: readonly (readonly number[])[];
  readonly decoded: readonly (string | null)[];
}

const file = 'tokenizer.model';

function bytesOf(name: string): Buffer {
  return readFileSync(fixture('sentencepiece', `${name}.model`));
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
    const { texts, ids, decoded } = JSON.parse(
      readFileSync(fixture('sentencepiece', `${name}.json`), 'utf8'),
    ) as Cases;
    assert.ok(texts.length > 90);
    for (const [index, text] of texts.entries()) {
      assert.deepEqual(tokenizer.encode(text), ids[index], JSON.stringify(text));
      const expected = decoded[index];
      if (expected === null) continue;
      assert.equal(tokenizer.decode(ids[index] ?? []), expected, JSON.stringify(text));
    }
  });
}
