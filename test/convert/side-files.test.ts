import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eosIdsOf } from '../../src/convert/side-files.ts';
import type { ModelSpec } from '../../src/models/spec.ts';

const spec = { eosIds: [2] as number[] } as ModelSpec;

function eosOf(generationConfig: string | null): readonly number[] {
  const files = new Map<string, Uint8Array>();
  if (generationConfig !== null) files.set('generation_config.json', Buffer.from(generationConfig));
  return eosIdsOf(files, spec, 'checkpoint');
}

test('generation_config.json says what ends a sequence, else config.json', () => {
  assert.deepEqual(eosOf(null), [2]);
  assert.deepEqual(eosOf('{}'), [2]);
  assert.deepEqual(eosOf('{"eos_token_id": null}'), [2]);
  assert.deepEqual(eosOf('{"eos_token_id": 7}'), [7]);
  assert.deepEqual(eosOf('{"eos_token_id": [7, 9]}'), [7, 9]);
  assert.deepEqual(eosOf('{"eos_token_id": [7, -1]}'), [7]);
  assert.deepEqual(eosOf('{"eos_token_id": -1}'), []);
});

test('what is no id of a token ends nothing', () => {
  assert.deepEqual(eosOf('{"eos_token_id": -1}'), []);
  assert.deepEqual(eosOf('{"eos_token_id": [7, -1, 4294967295]}'), [7]);
});

test('a generation_config.json that cannot be used is named', () => {
  for (const text of [
    '{"eos_token_id": "x"}',
    '{"eos_token_id": [null]}',
    '{"eos_token_id": 1.5}',
    '{"eos_token_id": NaN}',
    '[]',
    '{"eos',
  ]) {
    assert.throws(() => eosOf(text), { name: 'InputError', line: /generation_config\.json/ });
  }
});
