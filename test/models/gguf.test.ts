/** What translations make of metadata that no converter wrote: sizes beyond all measure, names of objects. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GgufValue } from '../../src/checkpoint/gguf/metadata.ts';
import { translateGguf } from '../../src/models/gguf/index.ts';

const plain: Readonly<Record<string, GgufValue>> = {
  'general.architecture': 'llama',
  'llama.block_count': 2,
  'llama.context_length': 64,
  'llama.embedding_length': 32,
  'llama.feed_forward_length': 48,
  'llama.attention.head_count': 4,
  'llama.attention.layer_norm_rms_epsilon': 1e-6,
};

const shapes = new Map<string, readonly number[]>(
  ['token_embd', 'output_norm', 'output'].map((name) => [`${name}.weight`, [112, 32]]),
);

function translate(changes: Readonly<Record<string, GgufValue>>) {
  const metadata = new Map(Object.entries({ ...plain, ...changes }));
  return translateGguf({ file: 'model.gguf', metadata, shapes, ropeFactors: null });
}

const most = 2147483647;
const tooLarge: readonly (readonly [key: string, value: GgufValue, limit: number])[] = [
  ['llama.block_count', most, 3], // as many as there are tensors
  ['llama.block_count', 4, 3],
  ['llama.context_length', 2 ** 32 - 1, most],
  ['llama.embedding_length', most, 2 ** 20],
  ['llama.feed_forward_length', most, 2 ** 22],
  ['llama.attention.head_count', most, 4096],
  ['llama.attention.head_count', new Int32Array(1000).fill(most), 4096],
  ['llama.attention.head_count_kv', most, 4096],
  ['llama.attention.key_length', most, 2 ** 16],
  ['llama.attention.value_length', most, 2 ** 16],
  ['llama.rope.dimension_count', most, 2 ** 16],
];

for (const [key, value, limit] of tooLarge) {
  const shown = value instanceof Int32Array ? value[0] : value;
  test(`${key} ${shown} is refused before it is used`, () => {
    assert.throws(() => translate({ [key]: value }), {
      name: 'InputError',
      line: `model.gguf: ${key} is ${shown} (at most ${limit})`,
    });
  });
}

test('a size beyond exact integers is no size', () => {
  assert.throws(() => translate({ 'llama.embedding_length': 2n ** 63n }), {
    line: /llama\.embedding_length is not a positive integer: 9223372036854775808/,
  });
});

test('names of what objects have are unknown, to be refused as they are', () => {
  const { translate: nameOf } = translate({});
  assert.deepEqual(nameOf('output_norm.weight'), [{ name: 'model.norm.weight' }]);
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty', 'valueOf']) {
    assert.equal(nameOf(`${name}.weight`), undefined);
    assert.equal(nameOf(`blk.0.${name}.weight`), undefined);
    assert.throws(() => translate({ 'general.architecture': name }), {
      line: new RegExp(`the architecture '${name}' is not supported`),
    });
    const scaling = { 'llama.rope.scaling.type': name, 'llama.rope.scaling.factor': 2 };
    assert.throws(() => translate(scaling), {
      line: new RegExp(`rotary scaling '${name}' is not`),
    });
  }
});
