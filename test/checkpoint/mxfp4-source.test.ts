/** Pairs of blocks and scales as one tensor, and pairs that are none. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { withMxfp4 } from '../../src/checkpoint/mxfp4-source.ts';
import { openSafetensors } from '../../src/checkpoint/safetensors.ts';
import { InputError } from '../../src/errors.ts';
import { type Tensor, writeSafetensors } from '../support/safetensors.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();

const bytes = (shape: number[], at: (index: number) => number): Tensor => {
  const count = shape.reduce((product, size) => product * size, 1);
  return { dtype: 'U8', shape, data: Buffer.from(Array.from({ length: count }, (_, i) => at(i))) };
};

async function opened(tensors: Record<string, Tensor>) {
  const path = join(root.directory(), 'model.safetensors');
  writeSafetensors(path, new Map(Object.entries(tensors)));
  return openSafetensors(path);
}

/** By the numbers of the OCP's microscaling formats: a sign, two bits of exponent, one of mantissa. */
function element(code: number): number {
  const [sign, exponent, mantissa] = [code >> 3, (code >> 1) & 3, code & 1];
  const size = exponent === 0 ? mantissa / 2 : (1 + mantissa / 2) * 2 ** (exponent - 1);
  // Blocks of GGUF files have one zero.
  return sign === 1 && size > 0 ? -size : size;
}

test('values are those of neighbouring nibbles, by range and by block', async () => {
  const source = await opened({
    w_blocks: bytes([2, 3, 2, 16], (i) => (i * 37 + 11) % 256),
    w_scales: bytes([2, 3, 2], (i) => 125 + (i % 5)),
    w_bias: { dtype: 'F32', shape: [1], data: Buffer.alloc(4) },
  });
  const joined = withMxfp4(source);
  assert.deepEqual([...joined.tensors.keys()].sort(), ['w', 'w_bias']);
  const tensor = joined.tensors.get('w');
  assert.ok(tensor !== undefined);
  assert.deepEqual(tensor.shape, [2, 3, 64]);
  const wanted = Array.from({ length: 384 }, (_, i) => {
    const byte = (Math.floor(i / 2) * 37 + 11) % 256;
    return (
      element(i % 2 === 0 ? byte & 15 : byte >> 4) * 2 ** (125 + (Math.floor(i / 32) % 5) - 127)
    );
  });
  for (const [start, count] of [
    [0, 384],
    [5, 1],
    [31, 70],
  ] as const) {
    const values = new Float32Array(count);
    await tensor.read(start, count, new Uint8Array(values.buffer));
    assert.deepEqual([...values], wanted.slice(start, start + count));
  }
  const block = new Uint8Array(2 * 17);
  await tensor.blocks?.read(3, 2, block);
  assert.equal(block[0], 125 + 3);
  assert.equal(block[17], 125 + 4);
  await source.close();
});

test('a pair whose shapes contradict each other is refused, and what is no pair stays', async () => {
  const wrong = await opened({
    w_blocks: bytes([2, 3, 2, 16], () => 0),
    w_scales: bytes([2, 3, 3], () => 0),
  });
  assert.throws(() => withMxfp4(wrong), InputError);
  await wrong.close();
  const narrow = await opened({ w_blocks: bytes([4, 8], () => 0), w_scales: bytes([4], () => 0) });
  assert.throws(() => withMxfp4(narrow), InputError);
  await narrow.close();
  const alone = await opened({ w_blocks: bytes([2, 16], () => 0) });
  assert.deepEqual([...withMxfp4(alone).tensors.keys()], ['w_blocks']);
  await alone.close();
});
