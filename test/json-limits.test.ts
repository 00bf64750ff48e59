import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JsonExcessError, parseJsonText } from '../src/checkpoint/json-file.ts';
import { deepestJson, jsonExcess, mostJsonValues } from '../src/json-limits.ts';

const excessAt = (text: string) => jsonExcess(text)?.at ?? null;

test('JSON that is too deep is found wherever it is, and brackets in strings do not count', () => {
  const nested = (depth: number, open = '[', close = ']') =>
    open.repeat(depth) + close.repeat(depth);
  assert.equal(excessAt(nested(deepestJson)), null);
  assert.equal(excessAt(nested(deepestJson + 1)), deepestJson);
  assert.equal(excessAt(`{"a":${nested(deepestJson)}}`), 5 + deepestJson - 1);
  assert.equal(excessAt('{"a":'.repeat(20_000)), 5 * deepestJson);
  assert.equal(excessAt(`"${'['.repeat(1000)}\\"${'{'.repeat(1000)}\\\\"`), null);
  assert.equal(excessAt(`[${'[],'.repeat(1000)}[]]`), null);
  assert.equal(
    excessAt(`"${'['.repeat(1000)}`),
    null,
    'a string without an end is the parser’s to name',
  );
});

test('JSON of too many values is refused before it is parsed, and commas in strings do not count', () => {
  assert.equal(excessAt(`[${'0,'.repeat(mostJsonValues - 1)}0]`), null);
  assert.equal(excessAt(`[${'0,'.repeat(mostJsonValues)}0]`), 2 * mostJsonValues);
  assert.equal(excessAt(`[${'[],'.repeat(mostJsonValues / 2)}0]`), 3 * (mostJsonValues / 2));
  assert.equal(excessAt(`"${','.repeat(2 * mostJsonValues)}"`), null);
  assert.throws(
    () => parseJsonText('{"a":[],'.repeat(mostJsonValues), 'config.json'),
    (error) =>
      error instanceof JsonExcessError &&
      /^config\.json, byte \d+: is JSON nested/.test(error.line),
  );
  assert.throws(
    () => parseJsonText(`[${'{},'.repeat(mostJsonValues)}0]`, 'config.json'),
    (error) =>
      error instanceof JsonExcessError &&
      /^config\.json, byte \d+: is JSON of more than 4194304 values$/.test(error.line),
  );
});
