/** Regular expressions of a tokenizer.json that backtrack without end are broken off. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { TimeLimitError, withinTime } from '../../src/tokenizer/time-limit.ts';
import { loadTokenizer } from '../../src/tokenizer/tokenizer.ts';
import { directoryWith, fixture } from './support.ts';

const limit = { units: 10, file: 'tokenizer.json' };
const endless = { Regex: '(a+)+$' };
const longText = `${'a'.repeat(60)}b`;

function isTimeLimit(error: unknown): boolean {
  assert.ok(error instanceof TimeLimitError, String(error));
  assert.match(error.line, /tokenizer\.json: its regular expressions were stopped after/);
  return true;
}

test('what ends in time gives its result, and its errors', () => {
  assert.equal(
    withinTime(() => withinTime(() => 7, limit), limit),
    7,
  );
  const error = new RangeError('of its own');
  assert.throws(
    () =>
      withinTime(() => {
        throw error;
      }, limit),
    error,
  );
});

describe('a tokenizer', () => {
  const json = JSON.parse(readFileSync(fixture('stories-opt', 'tokenizer.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  const split = { type: 'Split', pattern: endless, behavior: 'Isolated', invert: false };
  const replace = { type: 'Replace', pattern: endless, content: 'x' };

  test('whose split does not end still encodes other texts', async (t) => {
    const parts = [split, json.pre_tokenizer];
    const changed = { ...json, pre_tokenizer: { type: 'Sequence', pretokenizers: parts } };
    const tokenizer = await loadTokenizer(await directoryWith(t, { 'tokenizer.json': changed }));
    const plain = await loadTokenizer(fixture('stories-opt'));
    const text = 'Once upon a time';
    const once = { once: true };
    assert.deepEqual(tokenizer.encode(text), plain.encode(text));
    assert.throws(() => tokenizer.encode(longText, once), isTimeLimit);
    assert.deepEqual(tokenizer.encode(text), plain.encode(text));
  });

  test('whose normalizer does not end with one of its tokens is not loaded', async (t) => {
    const token = { id: 2048, content: longText, normalized: true };
    const added = [...(json.added_tokens as readonly unknown[]), token];
    const changed = { ...json, normalizer: replace, added_tokens: added };
    const dir = await directoryWith(t, { 'tokenizer.json': changed });
    await assert.rejects(loadTokenizer(dir), isTimeLimit);
  });

  test('whose decoder does not end', async (t) => {
    const decoder = { type: 'Sequence', decoders: [json.decoder, replace] };
    const dir = await directoryWith(t, { 'tokenizer.json': { ...json, decoder } });
    const tokenizer = await loadTokenizer(dir);
    const ids = tokenizer.encode(longText);
    assert.throws(() => tokenizer.decode(ids), isTimeLimit);
    assert.equal(tokenizer.decode(tokenizer.encode('Once')), 'Once');
  });
});
