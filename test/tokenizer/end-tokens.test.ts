/** Which tokens end a text: by id, by role, and by what they are called. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endsByName, endTokensOf } from '../../src/tokenizer/end-tokens.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { directoryWith } from './support.ts';

const added = (content: string, id: number, special = true) => ({
  ...{ id, content, special },
  ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
});

/** The names of those of `tokens` that end a text; `~` before one that is added but not special. */
function endsOf(...tokens: readonly string[]): string[] {
  const list = tokens.map((name, id) => added(name.replace(/^~/, ''), id, !name.startsWith('~')));
  return endsByName(list).map((id) => tokens[id] ?? '');
}

test('tokens that are called so end a text', () => {
  const ends = [
    '<|endoftext|>',
    '<|im_end|>',
    '<|eot_id|>',
    '<|eom_id|>',
    '<|end|>',
    '</s>',
  ].concat(
    ['<|end_of_text|>', '<end_of_turn>', '<EOT>', '<｜end▁of▁sentence｜>', '▁<EOT>', '<|EOT|>'],
    ['<|fim_pad|>', '<|repo_name|>', '<|file_sep|>', '[EOS]', '<eos>', '<|eot|>'],
  );
  assert.deepEqual(endsOf(...ends), ends);
});

test('tokens that begin, part or fill do not', () => {
  const others = [
    '<|im_start|>',
    '<|endofprompt|>',
    '<|end_header_id|>',
    '<|begin_of_text|>',
  ].concat(
    ['<s>', '<unk>', '<pad>', '<mask>', '<|fim_prefix|>', '<|fim_suffix|>', '<|fim_middle|>'],
    [
      '<start_of_turn>',
      '<|end_of_role|>',
      '<|im_sep|>',
      '<|ENDOFTEXT|>',
      ' <|im_end|>',
      '<|vision_end|>',
    ],
  );
  assert.deepEqual(endsOf(...others), []);
});

test('what may be markup ends a text only where it is special', () => {
  assert.deepEqual(endsOf('~</s>', '~<eos>', '~[PAD]', '~<|im_end|>', '~<|fim_pad|>'), [
    '~<|im_end|>',
    '~<|fim_pad|>',
  ]);
});

test('<|end|> parts messages where calls and returns have marks of their own', () => {
  assert.deepEqual(endsOf('<|end|>', '<|return|>', '<|call|>'), ['<|return|>', '<|call|>']);
  assert.deepEqual(endsOf('<|end|>', '<|flush|>', '<|calls|>'), ['<|flush|>', '<|calls|>']);
  assert.deepEqual(endsOf('<|end|>', '<|return|>'), ['<|end|>', '<|return|>']);
});

const vocab = { '<|endoftext|>': 0, '<|im_end|>': 1, a: 2, b: 3, '</s>': 4, '<|end|>': 5 };
const json = {
  model: { type: 'BPE', vocab, merges: [] },
  // What the vocabulary alone has is text, whatever it is called.
  added_tokens: [added('<|endoftext|>', 0), added('<|im_end|>', 1), added('<pad>', 6)],
};

test('a model ends at what its configuration, its tokenizer and its vocabulary name', async (t) => {
  const dir = await directoryWith(t, {
    'tokenizer.json': json,
    'tokenizer_config.json': { eos_token: '</s>' },
  });
  const tokenizer = await loadTokenizer(dir, { eosIds: [3, 1, 6, 900], vocabSize: 6 });
  assert.deepEqual(tokenizer.eosIds, [0, 1, 3, 4], 'and no id without a row');
  assert.deepEqual(endTokensOf(tokenizer), [
    { id: 0, text: '<|endoftext|>' },
    { id: 1, text: '<|im_end|>' },
    { id: 3, text: 'b' },
    { id: 4, text: '</s>' },
  ]);
});

test('special tokens are found by their text', async (t) => {
  const dir = await directoryWith(t, { 'tokenizer.json': json });
  const tokenizer = await loadTokenizer(dir);
  assert.equal(tokenizer.specialId('<|im_end|>'), 1);
  assert.equal(tokenizer.specialId('</s>'), undefined);
  assert.equal(tokenizer.specialId('a'), undefined);
});

test('an id without a row of the embedding is named', async (t) => {
  const dir = await directoryWith(t, { 'tokenizer.json': json });
  const tokenizer = await loadTokenizer(dir, { vocabSize: 6 });
  assert.deepEqual(tokenizer.encode('ab<|im_end|>'), [2, 3, 1]);
  const line =
    'token id 6 ("<pad>") is out of range (0 to 5): the model\'s embedding has 6 rows. ' +
    'The tokenizer has this token, but the model does not: leave it out of the text.';
  for (const ids of [() => tokenizer.encode('a<pad>'), () => tokenizer.encodePrompt('<pad>')]) {
    assert.throws(ids, { name: 'InputError', line });
  }
  assert.throws(
    () => tokenizer.checkIds([2, 7]),
    /^InputError: token id 7 is out of range \(0 to 5\)/,
  );
  assert.throws(() => tokenizer.checkIds([-1]), /token id -1 is out of range/);
  assert.throws(() => tokenizer.checkIds([1.5]), /token id 1\.5 is out of range/);
});

test('a BOS without a row lets the tokenizer be opened, and no text be encoded', async (t) => {
  const dir = await directoryWith(t, {
    'tokenizer.json': json,
    'tokenizer_config.json': { bos_token: '<pad>', add_bos_token: true },
  });
  const tokenizer = await loadTokenizer(dir, { vocabSize: 6 });
  assert.deepEqual(tokenizer.around, [6]);
  assert.deepEqual(tokenizer.encode('ab'), [2, 3]);
  assert.throws(() => tokenizer.encodePrompt('ab'), {
    name: 'InputError',
    line: /tokenizer\.json: token id 6 \("<pad>"\).*adds it to every text/,
  });
});
