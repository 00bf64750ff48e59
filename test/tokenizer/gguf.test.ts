/** Tokenizers rebuilt from the metadata of GGUF files, against the packages they come from. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openGguf } from '../../src/checkpoint/gguf/gguf-file.ts';
import { specialTokenId } from '../../src/models/gguf/special-tokens.ts';
import { TextList } from '../../src/text-list.ts';
import { tokenizerFromGguf } from '../../src/tokenizer/from-gguf.ts';
import { loadTokenizer, pipelineTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { checkTokenizerJson } from '../../src/tokenizer/tokenizer-json.ts';
import { refusal } from '../checkpoint/helpers.ts';
import { ggufFixtures } from '../support/fixtures.ts';
import { directoryWith, fixture, readFixture } from './support.ts';

type Metadata = Map<string, unknown>;

async function metadataOf(name: string): Promise<Metadata> {
  const source = await openGguf(join(ggufFixtures, 'tokenizers', `${name}.gguf`));
  await source.close();
  return new Map(source.metadata);
}

async function load(t: TestContext, metadata: Metadata): Promise<Tokenizer> {
  const { bytes, config } = tokenizerFromGguf(metadata, 'model.gguf');
  const json: unknown = JSON.parse(bytes().toString());
  const dir = await directoryWith(t, { 'tokenizer.json': json, 'tokenizer_config.json': config });
  return loadTokenizer(dir);
}

function expected<T>(name: string): T {
  return JSON.parse(readFileSync(join(ggufFixtures, 'tokenizers', `${name}.json`), 'utf8')) as T;
}

test('SentencePiece gives the ids and texts of its own package', async (t) => {
  const tokenizer = await load(t, await metadataOf('pieces'));
  const { texts, ids, decoded } = expected<{ texts: string[]; ids: number[][]; decoded: string[] }>(
    'pieces',
  );
  assert.ok(texts.length > 40);
  for (const [index, text] of texts.entries()) {
    assert.deepEqual(tokenizer.encode(text), ids[index], JSON.stringify(text));
    assert.equal(tokenizer.decode(ids[index] ?? []), decoded[index], JSON.stringify(text));
  }
});

test('a piece of a million characters is made of pieces, as any other', async () => {
  const metadata = await metadataOf('pieces');
  const tokens = [...(metadata.get('tokenizer.ggml.tokens') as TextList)];
  const long = 'o'.repeat(2 ** 20);
  // In the place of the last piece, whose score is the least.
  metadata.set('tokenizer.ggml.tokens', TextList.of([...tokens.slice(0, -1), long]));
  const { json } = tokenizerFromGguf(metadata, 'model.gguf');
  const merges = json.model.merges as [string, string][];
  assert.ok(!merges.some((parts) => parts.join('') === long), 'no two pieces make it');
  const half = long.slice(2 ** 19);
  metadata.set('tokenizer.ggml.tokens', TextList.of([...tokens.slice(0, -2), half, long]));
  const withHalf = tokenizerFromGguf(metadata, 'model.gguf').json.model.merges as [
    string,
    string,
  ][];
  assert.deepEqual(
    withHalf.filter((parts) => parts.join('') === long),
    [[half, half]],
  );
});

test('SentencePiece texts begin with BOS, and special pieces are taken from the text', async (t) => {
  const tokenizer = await load(t, await metadataOf('pieces'));
  assert.equal(tokenizer.bosId, 1);
  assert.deepEqual(tokenizer.eosIds, [2]);
  assert.deepEqual(tokenizer.encodePrompt(''), [1]);
  const two = tokenizer.encode('two');
  assert.deepEqual(tokenizer.encodePrompt('two'), [1, ...two]);
  assert.deepEqual(tokenizer.encode('</s>two'), [2, ...two]);
});

test('SentencePiece without a blank in front, BOS or EOS, as the metadata says', async (t) => {
  const metadata = await metadataOf('pieces');
  metadata.set('tokenizer.ggml.add_space_prefix', false);
  metadata.set('tokenizer.ggml.add_bos_token', false);
  metadata.set('tokenizer.ggml.add_eos_token', true);
  const tokenizer = await load(t, metadata);
  const withBlank = await load(t, await metadataOf('pieces'));
  assert.deepEqual(tokenizer.encode(' one two'), withBlank.encode('one two'));
  assert.equal(tokenizer.decode(tokenizer.encode('one two')), 'one two');
  const ids = tokenizer.encode('one');
  assert.deepEqual(tokenizer.encodePrompt('one'), [...ids, 2]);
});

const { texts, ids: idsByName } = expected<{
  texts: string[];
  ids: Record<string, number[][]>;
}>('merges');

for (const [name, ids] of Object.entries(idsByName)) {
  test(`byte-level BPE cuts words as ${name} does`, async (t) => {
    const metadata = await metadataOf('merges');
    metadata.set('tokenizer.ggml.pre', name);
    const tokenizer = await load(t, metadata);
    for (const [index, text] of texts.entries()) {
      assert.deepEqual(tokenizer.encode(text), ids[index], JSON.stringify(text));
      assert.equal(tokenizer.decode(ids[index] ?? []), text);
    }
  });
}

test('byte-level BPE adds BOS where the metadata or its kind says so', async (t) => {
  const metadata = await metadataOf('merges');
  const plain = await load(t, metadata);
  assert.deepEqual(plain.encodePrompt('a'), plain.encode('a'));
  metadata.set('tokenizer.ggml.add_bos_token', true);
  assert.deepEqual((await load(t, metadata)).encodePrompt('a'), [0, ...plain.encode('a')]);
  metadata.delete('tokenizer.ggml.add_bos_token');
  metadata.set('tokenizer.ggml.pre', 'llama-bpe');
  assert.deepEqual((await load(t, metadata)).encodePrompt('a'), [0, ...plain.encode('a')]);
});

test('SentencePiece has BOS 1 and EOS 2 where the metadata names none that is a token', async (t) => {
  for (const id of [undefined, 4294967295, -1]) {
    const metadata = await metadataOf('pieces');
    for (const role of ['bos', 'eos']) {
      const key = `tokenizer.ggml.${role}_token_id`;
      if (id === undefined) metadata.delete(key);
      else metadata.set(key, id);
    }
    const tokenizer = await load(t, metadata);
    assert.equal(tokenizer.bosId, 1);
    assert.deepEqual(tokenizer.encodePrompt(''), [1]);
    assert.deepEqual(tokenizerFromGguf(metadata, 'model.gguf').eosIds, [2]);
    assert.equal(specialTokenId(metadata, 'eot'), null);
  }
});

test('byte-level BPE has no BOS and no EOS where the metadata names none', async () => {
  const metadata = await metadataOf('merges');
  metadata.delete('tokenizer.ggml.eos_token_id');
  metadata.delete('tokenizer.ggml.bos_token_id');
  assert.deepEqual(tokenizerFromGguf(metadata, 'model.gguf').eosIds, []);
  assert.equal(specialTokenId(metadata, 'bos'), null);
});

test('end of turn, of message and of what is filled in end a sequence', async () => {
  const metadata = await metadataOf('merges');
  for (const [id, role] of ['eos', 'eot', 'eom', 'fim_pad', 'fim_rep', 'fim_sep'].entries()) {
    metadata.set(`tokenizer.ggml.${role}_token_id`, 10 + id);
  }
  for (const role of ['fim_pre', 'fim_suf', 'fim_mid', 'padding', 'unknown']) {
    metadata.set(`tokenizer.ggml.${role}_token_id`, 20);
  }
  assert.deepEqual(tokenizerFromGguf(metadata, 'model.gguf').eosIds, [10, 11, 12, 13, 14, 15]);
});

test('padding is no token, and what ends a turn ends a sequence', async (t) => {
  const metadata = await metadataOf('merges');
  const tokens = [...(metadata.get('tokenizer.ggml.tokens') as TextList)];
  const kinds = Array.from(metadata.get('tokenizer.ggml.token_type') as Int32Array);
  metadata.set('tokenizer.ggml.tokens', TextList.of([...tokens, '<turn>', '[PAD]', '[PAD]']));
  metadata.set('tokenizer.ggml.token_type', [...kinds, 3, 5, 5]);
  metadata.set('tokenizer.ggml.eot_token_id', tokens.length);
  const { eosIds } = tokenizerFromGguf(metadata, 'model.gguf');
  assert.deepEqual(eosIds, [0, tokens.length]);
  const tokenizer = await load(t, metadata);
  assert.equal(tokenizer.vocabularySize, tokens.length + 1);
  assert.deepEqual(tokenizer.encode('<turn>'), [tokens.length]);
  assert.ok(tokenizer.encode('[PAD]').length > 1);
});

test('what cannot be used is refused', async () => {
  const refused = async (name: string, key: string, value: unknown, pattern: RegExp) => {
    const metadata = await metadataOf(name);
    metadata.set(`tokenizer.ggml.${key}`, value);
    assert.throws(() => tokenizerFromGguf(metadata, 'model.gguf'), refusal(pattern));
  };
  await refused('merges', 'model', 'bert', /unsupported tokenizer "bert".*gpt2 \(byte-level BPE\)/);
  await refused('merges', 'model', undefined, /the file holds no tokenizer/);
  await refused('merges', 'pre', 'unheard-of', /pre-tokenizer "unheard-of" is not supported/);
  await refused('merges', 'tokens', [], /no list of texts tokenizer\.ggml\.tokens/);
  await refused('merges', 'tokens', [1, 2], /no list of texts tokenizer\.ggml\.tokens/);
  await refused('merges', 'merges', undefined, /no list of texts tokenizer\.ggml\.merges/);
  await refused(
    'merges',
    'merges',
    TextList.of(['nothing']),
    /model\.gguf: line 1 is not two tokens/,
  );
  await refused('merges', 'token_type', [1], /token_type is not a list of \d+ numbers/);
  await refused('pieces', 'scores', ['a'], /scores is not a list of \d+ numbers/);
});

test("GPT-2's vocabulary as a GGUF gives the ids that llama.cpp ships", async (t) => {
  const source = await openGguf(fixture('gpt2', 'ggml-vocab-gpt-2.gguf'));
  await source.close();
  const tokenizer = await load(t, new Map(source.metadata));
  const samples = (await readFixture('gpt2', 'ggml-vocab-gpt-2.gguf.inp'))
    .split('\n__ggml_vocab_test__\n')
    .slice(0, -1);
  const lines = (await readFixture('gpt2', 'ggml-vocab-gpt-2.gguf.out')).split('\n').slice(0, -1);
  assert.equal(samples.length, 46);
  for (const [index, text] of samples.entries()) {
    const ids = (lines[index] ?? '').split(' ').filter(Boolean).map(Number);
    assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
  }
});

test('chat templates are kept, under their names where there are several', async () => {
  const metadata = await metadataOf('merges');
  const templates = () => tokenizerFromGguf(metadata, 'model.gguf').config.chat_template;
  assert.equal(templates(), undefined);
  metadata.set('tokenizer.chat_template', '{{ 1 }}');
  assert.equal(templates(), '{{ 1 }}');
  metadata.set('tokenizer.chat_templates', ['tool_use']);
  metadata.set('tokenizer.chat_template.tool_use', '{{ 2 }}');
  metadata.set('tokenizer.chat_template.rag', 3);
  assert.deepEqual(templates(), [
    { name: 'default', template: '{{ 1 }}' },
    { name: 'tool_use', template: '{{ 2 }}' },
  ]);
});

test('tables made from the lists of a file are those that its tokenizer.json gives', async () => {
  const metadata = await metadataOf('merges');
  const tokens = [...(metadata.get('tokenizer.ggml.tokens') as TextList)];
  const kinds = metadata.get('tokenizer.ggml.token_type') as Int32Array;
  // What has to be escaped or is no two bytes, what occurs twice, and what is unused.
  const more = ['"\\', 'a\n\u0001', '\u{1f600}\u20ac', tokens[5] ?? '', 'unused', 'last'];
  metadata.set('tokenizer.ggml.tokens', TextList.of([...tokens, ...more]));
  metadata.set('tokenizer.ggml.token_type', Int32Array.from([...kinds, 1, 1, 1, 1, 5, 1]));
  const made = tokenizerFromGguf(metadata, 'model.gguf');
  const json = checkTokenizerJson(JSON.parse(made.bytes().toString()), 'tokenizer.json');
  const { kept } = pipelineTokenizer({ json, file: 'tokenizer.json', files: {} }, {});
  assert.ok(kept !== null && made.tables !== null);
  assert.deepEqual(made.json, kept.json);
  assert.deepEqual(made.tables.vocabulary.arrays, kept.tables.vocabulary.arrays);
  for (const list of ['left', 'right', 'merged'] as const) {
    assert.deepEqual(made.tables.merges[list], kept.tables.merges[list], list);
  }
  const ids = more.map((token) => made.tables?.vocabulary.idOf(token));
  const first = tokens.length;
  assert.deepEqual(ids, [first, first + 1, first + 2, 5, undefined, first + 5]);
});
