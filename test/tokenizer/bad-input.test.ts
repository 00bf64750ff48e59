/** Files that cannot be used: each is refused with what is wrong and where. */

import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { describe, test } from 'node:test';
import { InputError } from '../../src/errors.ts';
import { readBpeFiles, tokenizerJsonFromBpe } from '../../src/tokenizer/from-bpe-files.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { directoryWith } from './support.ts';

/** A check for `assert.throws`: an InputError about `file` whose line matches. */
function inputError(file: string, line: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof InputError, String(error));
    assert.equal(basename(error.place.file ?? ''), file);
    assert.match(error.line, line);
    return true;
  };
}

const vocab = { '<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3, a: 4, b: 5, ab: 6, d: 8 };

/** Parts that the reference knows and flashllm does not, or that neither knows. */
const unsupported: readonly (readonly [name: string, part: object, line: RegExp])[] = [
  ['another version', { version: '2.0' }, /version "2.0"/],
  ['Bert', { normalizer: { type: 'BertNormalizer' } }, /normalizer.*"BertNormalizer"/],
  ['scripts', { pre_tokenizer: { type: 'UnicodeScripts' } }, /pre_tokenizer.*"UnicodeScripts"/],
  [
    'a charsmap within a sequence',
    {
      normalizer: {
        type: 'Sequence',
        normalizers: [{ type: 'NFC' }, { type: 'Precompiled', precompiled_charsmap: 'AAAA' }],
      },
    },
    /normalizer\.normalizers\[1\] \(Precompiled\): 'precompiled_charsmap' is not a valid table of characters/,
  ],
  [
    'an unknown field',
    { pre_tokenizer: { type: 'Digits', individual_digits: true, sign: 'kept' } },
    /pre_tokenizer \(Digits\): field "sign" is unknown: "kept"/,
  ],
  [
    'an unknown behaviour',
    {
      pre_tokenizer: { type: 'Split', pattern: { String: 'a' }, behavior: 'Odd', invert: false },
    },
    /"behavior" is not one of Removed, Isolated.*"Odd"/,
  ],
  [
    'a regular expression',
    {
      pre_tokenizer: {
        ...{ type: 'Split', pattern: { Regex: 'a\\K' }, behavior: 'Isolated', invert: false },
      },
    },
    /pre_tokenizer \(Split\): the regular expression .* has \\K/,
  ],
  [
    'a pattern that matches nothing',
    { normalizer: { type: 'Replace', pattern: { Regex: 'x*' }, content: 'y' } },
    /normalizer \(Replace\): "pattern" may match the empty text/,
  ],
  [
    'a beginning that may go',
    {
      normalizer: { type: 'Strip', strip_left: true, strip_right: false },
      pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first' },
    },
    /Metaspace with the 'prepend_scheme' first .*Strip/,
  ],
  [
    'a template without its token',
    {
      post_processor: {
        ...{ type: 'TemplateProcessing', pair: [], special_tokens: {} },
        single: [{ SpecialToken: { id: '<s>', type_id: 0 } }],
      },
    },
    /post_processor \(TemplateProcessing\): 'single' has .*<s>/,
  ],
  [
    'chance',
    { model: { type: 'BPE', vocab, merges: [], dropout: 0.1 } },
    /model \(BPE\): 'dropout' is 0.1/,
  ],
  [
    'an id that is taken',
    { added_tokens: [{ id: 12, content: '<new>' }] },
    /"<new>" would get id 8, .*8 tokens, but that id belongs to "d"/,
  ],
  [
    'two tokens that look alike',
    {
      added_tokens: ['<A>', '<a>'].map((content) => ({ id: 0, content, normalized: true })),
      model: { type: 'BPE', vocab: { a: 0, '<A>': 1, '<a>': 2 }, merges: [] },
      normalizer: { type: 'Lowercase' },
    },
    /"<a>" looks like another when it is normalized/,
  ],
];

describe('tokenizer.json', () => {
  const cases: readonly (readonly [name: string, content: unknown, line: RegExp])[] = [
    ['not JSON', '{"model": ', /not valid JSON/],
    ['not an object', [1], /not a JSON object/],
    ['without a model', {}, /'model' is missing/],
    ['an unknown model', { model: { type: 'Odd', vocab } }, /"Odd".*BPE, Unigram/],
    ['a vocabulary of texts', { model: { type: 'BPE', vocab: { a: 'b' }, merges: [] } }, /"a"/],
    ['no merges', { model: { type: 'BPE', vocab } }, /'merges' is not a list/],
    ['a foreign merge', { model: { type: 'BPE', vocab, merges: ['a b', 'a x'] } }, /merge 1/],
    [
      'an unknown part',
      { model: { type: 'BPE', vocab, merges: [] }, decoder: { type: 'Odd' } },
      /decoder \(Odd\): type "Odd" is not supported.*ByteLevel/,
    ],
    [
      'a bad added token',
      { model: { type: 'BPE', vocab, merges: [] }, added_tokens: [{ content: 'x' }] },
      /'added_tokens' has an entry/,
    ],
    ...unsupported.map(
      ([what, part, line]) =>
        [what, { model: { type: 'BPE', vocab, merges: [] }, ...part }, line] as const,
    ),
  ];
  for (const [name, content, line] of cases) {
    test(name, async (t) => {
      const dir = await directoryWith(t, { 'tokenizer.json': content });
      await assert.rejects(loadTokenizer(dir), inputError('tokenizer.json', line));
    });
  }

  test('missing', async (t) => {
    const dir = await directoryWith(t, {});
    await assert.rejects(loadTokenizer(dir), inputError('tokenizer.json', /no such file.*convert/));
  });

  test('a tokenizer_config.json that is no object', async (t) => {
    const dir = await directoryWith(t, { 'tokenizer_config.json': '[]' });
    await assert.rejects(loadTokenizer(dir), inputError('tokenizer_config.json', /not a JSON obj/));
  });
});

describe('vocab.json and merges.txt', () => {
  const refused = (file: string, line: RegExp, ...args: Parameters<typeof tokenizerJsonFromBpe>) =>
    assert.throws(() => tokenizerJsonFromBpe(...args), inputError(file, line));

  test('a merge of tokens that the vocabulary does not have', () => {
    refused('merges.txt', /line 3 .*"x"/, vocab, '#version: 0.2\na b\nx b\n');
    refused('merges.txt', /line 1 .*"bb"/, vocab, 'b b\n');
  });

  test('a line that is not two tokens', () => {
    refused('merges.txt', /line 2 is not two tokens/, vocab, 'a b\na\n');
    refused('merges.txt', /line 1 is not two tokens/, vocab, 'a b c\n');
  });

  test('an id that two tokens share, or that is none', () => {
    refused('vocab.json', /id 4 .*"a" and "b"/, { a: 4, b: 4 }, '');
    refused('vocab.json', /"a" has an invalid id: -1/, { a: -1 }, '');
    refused('vocab.json', /"a" has an invalid id: 1.5/, { a: 1.5 }, '');
    refused('vocab.json', /invalid id/, { a: 4e9 }, '');
  });

  test('a vocabulary that is no object', () => {
    refused('vocab.json', /not a JSON object/, ['a'], '');
    refused('vocab.json', /not a JSON object/, null, '');
  });

  test('an added token without an id', () => {
    const config = { added_tokens_decoder: { x: { content: '</s>' } } };
    refused('tokenizer_config.json', /"x"/, vocab, '', { config });
  });

  test('more added tokens than any model has', () => {
    const many = Object.fromEntries(Array.from({ length: 2 ** 18 }, (_, i) => [`<${i}>`, i]));
    const files = { config: { eos_token: '</s>' }, addedTokens: many };
    refused('tokenizer_config.json', /262145 added tokens .*at most 262144/, vocab, '', files);
  });

  test('a class of tokenizers that does not read these files', async (t) => {
    const files = { 'vocab.json': vocab, 'merges.txt': '', 'config.json': { model_type: 'llama' } };
    const named = { 'tokenizer_config.json': { tokenizer_class: 'LlamaTokenizerFast' } };
    const dir = await directoryWith(t, { ...files, ...named });
    await assert.rejects(readBpeFiles(dir), (error) => {
      assert.ok(error instanceof InputError);
      assert.match(error.line, /"LlamaTokenizerFast" for model_type 'llama'.*GPT2Tokenizer.*save_/);
      return true;
    });
    const silent = await directoryWith(t, files);
    await assert.rejects(readBpeFiles(silent), /no 'tokenizer_class' says/);
  });

  test('a missing merges.txt', async (t) => {
    const dir = await directoryWith(t, { 'vocab.json': vocab });
    await assert.rejects(readBpeFiles(dir), inputError('merges.txt', /no such file/));
  });
});
