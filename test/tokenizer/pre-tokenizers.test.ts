/**
 * How the tokenizers of published families cut awkward texts: as their tokenizer.json says it, and by
 * the name that a GGUF file has for it. The vocabulary's tokens reach across blanks, digits and
 * punctuation, so that another cut gives other ids.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { preTokenizers } from '../../src/models/gguf/pre-tokenizers.ts';
import { TextList } from '../../src/text-list.ts';
import { tokenizerFromGguf } from '../../src/tokenizer/from-gguf.ts';
import { Pipeline } from '../../src/tokenizer/pipeline/pipeline.ts';
import { pipelineTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { checkTokenizerJson } from '../../src/tokenizer/tokenizer-json.ts';
import { readFixture } from './support.ts';

type Json = Readonly<Record<string, unknown>>;

interface Vocabulary {
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (readonly [string, string])[];
}

interface Family {
  readonly names: readonly string[];
  /** Values of `tokenizer.ggml.pre` that mean the same. */
  readonly gguf: readonly string[];
  readonly vocabulary: 'bytes' | 'pieces';
  readonly added_tokens: readonly Json[];
  readonly normalizer: Json | null;
  readonly pre_tokenizer: Json | null;
  readonly decoder: Json | null;
  readonly model: Json;
  readonly ids: readonly (readonly number[])[];
  readonly decoded: readonly string[];
}

const { texts, vocabularies, families } = JSON.parse(
  await readFixture('tokenizers', 'families.json'),
) as {
  readonly texts: readonly string[];
  readonly vocabularies: Readonly<Record<Family['vocabulary'], Vocabulary>>;
  readonly families: readonly Family[];
};

for (const family of families) {
  test(`${family.names.join(', ')}: tokenizer.json`, () => {
    const { vocabulary, added_tokens, normalizer, pre_tokenizer, decoder } = family;
    const model = { ...family.model, ...vocabularies[vocabulary] };
    const json = checkTokenizerJson(
      { added_tokens, normalizer, pre_tokenizer, decoder, model },
      'tokenizer.json',
    );
    const pipeline = new Pipeline(json, 'tokenizer.json');
    for (const [index, text] of texts.entries()) {
      const ids = family.ids[index] ?? [];
      assert.deepEqual(pipeline.encode(text, { addSpecial: false }), ids, JSON.stringify(text));
      assert.equal(pipeline.decode(ids), family.decoded[index], JSON.stringify(text));
    }
  });
}

/** The tokenizer of a GGUF file with the byte-level vocabulary. */
function fromGguf(pre: string): Tokenizer {
  const { vocab, merges } = vocabularies.bytes;
  const tokens = Object.keys(vocab).sort((a, b) => (vocab[a] ?? 0) - (vocab[b] ?? 0));
  const metadata = new Map<string, unknown>([
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', pre],
    ['tokenizer.ggml.tokens', TextList.of(tokens)],
    ['tokenizer.ggml.merges', TextList.of(merges.map((pair) => pair.join(' ')))],
  ]);
  const { json, tables } = tokenizerFromGguf(metadata, 'model.gguf');
  assert.ok(tables !== null);
  const source = { json, file: 'model.gguf', files: {}, ready: tables };
  return pipelineTokenizer(source, {}).tokenizer;
}

const named = families.flatMap((family) => family.gguf.map((name) => ({ name, family })));

for (const { name, family } of named) {
  test(`${family.names[0]}: ${name} of a GGUF file`, () => {
    const tokenizer = fromGguf(name);
    for (const [index, text] of texts.entries()) {
      const ids = family.ids[index] ?? [];
      assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
    }
  });
}

test('every way to cut that a GGUF file can name is compared with the reference', () => {
  const compared = new Set(named.map(({ name }) => preTokenizers.get(name)));
  const others = [...preTokenizers].filter(([, kind]) => !compared.has(kind));
  assert.deepEqual(
    others.map(([name]) => name),
    [],
  );
});
