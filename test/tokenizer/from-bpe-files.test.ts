import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { tokenizerJsonFromBpe } from '../../src/tokenizer/from-bpe-files.ts';
import { loadTokenizer, type ModelTokens, type Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { directoryWith } from './support.ts';

/** The ids have holes at 7, 8 and 10. */
const vocab = { '<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3, a: 4, b: 5, ab: 6, Ġ: 9, Ġa: 11 };
const merges = '#version: 0.2\r\na b\r\nĠ a\r\n\r\n';

/** As the real OPT checkpoints write it. */
const optConfig = {
  add_bos_token: true,
  add_prefix_space: false,
  bos_token: { __type: 'AddedToken', content: '</s>', lstrip: false, normalized: true },
  eos_token: { __type: 'AddedToken', content: '</s>', lstrip: false, normalized: true },
  pad_token: '<pad>',
  unk_token: '</s>',
  tokenizer_class: 'GPT2Tokenizer',
};

async function load(
  t: TestContext,
  config?: Record<string, unknown>,
  model?: ModelTokens,
): Promise<Tokenizer> {
  const json = tokenizerJsonFromBpe(vocab, merges, { config });
  const files = { 'tokenizer.json': json, ...(config && { 'tokenizer_config.json': config }) };
  return loadTokenizer(await directoryWith(t, files), model);
}

test('a configuration as the real OPT checkpoints have it', async (t) => {
  const tokenizer = await load(t, optConfig);
  assert.deepEqual(tokenizer.encodePrompt('ab a'), [2, 6, 11]);
  assert.deepEqual(tokenizer.encodePrompt(''), [2]);
  assert.deepEqual(tokenizer.encode('a</s>b<pad>'), [4, 2, 5, 1]);
  assert.equal(tokenizer.bosId, 2);
  assert.deepEqual(tokenizer.eosIds, [2]);
  assert.equal(tokenizer.vocabularySize, 12);
});

test('only the tokens that the configuration names are special', () => {
  const { added_tokens } = tokenizerJsonFromBpe(vocab, merges, { config: optConfig });
  assert.deepEqual(
    added_tokens.map(({ id, content }) => [id, content]),
    [
      [1, '<pad>'],
      [2, '</s>'],
    ],
  );
});

test('a hole in the vocabulary has no text', async (t) => {
  const tokenizer = await load(t, optConfig);
  assert.equal(tokenizer.decode([4, 7, 8, 11, 10]), 'a a');
});

test('special_tokens_map.json counts where tokenizer_config.json is silent', () => {
  const json = tokenizerJsonFromBpe(vocab, merges, {
    config: { add_bos_token: true },
    tokensMap: { bos_token: '<s>' },
  });
  assert.deepEqual(json.post_processor?.single, [
    { SpecialToken: { id: '<s>', type_id: 0 } },
    { Sequence: { id: 'A', type_id: 0 } },
  ]);
});

test('a prefix space is added when the configuration wants it', async (t) => {
  const tokenizer = await load(t, { ...optConfig, add_prefix_space: true });
  assert.deepEqual(tokenizer.encodePrompt('a'), [2, 11]);
});

test('BOS from tokenizer_config.json when the post-processor does not add it', async (t) => {
  const json = tokenizerJsonFromBpe(vocab, merges, {
    config: { ...optConfig, add_bos_token: false },
  });
  assert.equal(json.post_processor, null);
  const dir = await directoryWith(t, {
    'tokenizer.json': json,
    'tokenizer_config.json': optConfig,
  });
  assert.deepEqual((await loadTokenizer(dir)).encodePrompt('a'), [2, 4]);
});

test('BOS from config.json when there is no tokenizer_config.json', async (t) => {
  const tokenizer = await load(t, undefined, { bosId: 2, eosIds: [2, 3] });
  assert.deepEqual(tokenizer.encodePrompt('a'), [2, 4]);
  assert.deepEqual(tokenizer.eosIds, [2, 3]);
});

test('no BOS is added for a tokenizer that adds none, except to an empty prompt', async (t) => {
  const tokenizer = await load(t, { bos_token: null, eos_token: '</s>' }, { bosId: 3 });
  assert.deepEqual(tokenizer.encodePrompt('a'), [4]);
  assert.deepEqual(tokenizer.encodePrompt(''), [3]);
  assert.equal(tokenizer.bosId, 3);
});

test('BOS of a template that also adds to the end', async (t) => {
  const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const post_processor = {
    type: 'TemplateProcessing',
    single: [special('<s>'), { Sequence: { id: 'A', type_id: 0 } }, special('</s>')],
    pair: [],
    special_tokens: {
      '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] },
      '</s>': { id: '</s>', ids: [2], tokens: ['</s>'] },
    },
  };
  const json = { ...tokenizerJsonFromBpe(vocab, merges, { config: optConfig }), post_processor };
  const dir = await directoryWith(t, { 'tokenizer.json': json });
  const tokenizer = await loadTokenizer(dir, { bosId: 2 });
  assert.equal(tokenizer.bosId, 0);
  assert.deepEqual(tokenizer.encodePrompt('a'), [0, 4, 2]);
});
