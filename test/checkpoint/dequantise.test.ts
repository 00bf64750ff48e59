/** Every quantisation against the values that the format's own Python package gives, bit for bit. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openGguf } from '../../src/checkpoint/gguf/gguf-file.ts';
import type { SourceTensor } from '../../src/checkpoint/source.ts';
import { ggufFixtures } from '../support/fixtures.ts';
import { Dice } from '../support/random.ts';
import { elementsOf, readTensor } from './helpers.ts';

const quantised = ['Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q4_K', 'Q6_K'];
const more = ['Q5_K', 'Q3_K', 'Q2_K', 'IQ4_NL', 'MXFP4', 'IQ4_XS', 'TQ1_0', 'TQ2_0'];
const files = ['quants', 'more'];

async function eachTensor(
  use: (tensor: SourceTensor, expected: Buffer) => Promise<void>,
): Promise<void> {
  for (const file of files) await eachTensorOf(file, use);
}

async function eachTensorOf(
  file: string,
  use: (tensor: SourceTensor, expected: Buffer) => Promise<void>,
): Promise<void> {
  const source = await openGguf(join(ggufFixtures, 'quants', `${file}.gguf`));
  const values = readFileSync(join(ggufFixtures, 'quants', `${file}.f32`));
  try {
    let at = 0;
    for (const tensor of source.tensors.values()) {
      const bytes = elementsOf(tensor) * 4;
      await use(tensor, values.subarray(at, at + bytes));
      at += bytes;
    }
    assert.equal(at, values.length);
  } finally {
    await source.close();
  }
}

/** Bytes of f16 or bf16 as those of f32. */
function widened({ dtype }: SourceTensor, bytes: Buffer): Buffer {
  if (dtype === 'f32') return bytes;
  const wide = Buffer.alloc(bytes.length * 2);
  for (let i = 0; i < bytes.length / 2; i++) {
    const bits = bytes.readUInt16LE(2 * i);
    if (dtype === 'bf16') wide.writeUInt32LE(bits * 2 ** 16, 4 * i);
    else wide.writeFloatLE(half(bits), 4 * i);
  }
  return wide;
}

/** An f16 that is neither infinite nor NaN. */
function half(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  const size = exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15);
  return bits >> 15 === 0 ? size : -size;
}

test('every type gives the values of the reference', async () => {
  const seen: string[] = [];
  await eachTensor(async (tensor, expected) => {
    const { name } = tensor;
    assert.deepEqual(widened(tensor, await readTensor(tensor)), expected, name);
    assert.equal(tensor.storedAs, [...quantised, ...more].includes(name) ? name : undefined);
    seen.push(name);
  });
  assert.deepEqual(seen, [...quantised, 'F32', 'F16', 'BF16', ...more]);
});

test('any range gives a part of the whole, wherever it is read to', async () => {
  const dice = new Dice(1);
  await eachTensor(async (tensor, expected) => {
    if (tensor.storedAs === undefined) return;
    const elements = elementsOf(tensor);
    for (let i = 0; i < 200; i++) {
      const start = dice.between(0, elements);
      const count = dice.between(0, elements - start);
      const shift = dice.between(0, 5);
      const target = new Uint8Array(shift + count * 4).subarray(shift);
      await tensor.read(start, count, target);
      const part = expected.subarray(start * 4, (start + count) * 4);
      assert.ok(part.equals(target), `${tensor.name} ${start} + ${count}`);
    }
  });
});

test('reads at the same time do not disturb each other', async () => {
  await eachTensor(async (tensor, expected) => {
    if (tensor.storedAs === undefined) return;
    const starts = Array.from({ length: 40 }, (_, i) => i * 3);
    const parts = await Promise.all(starts.map((start) => readTensor(tensor, start, 71)));
    for (const [i, start] of starts.entries()) {
      assert.deepEqual(parts[i], expected.subarray(start * 4, (start + 71) * 4));
    }
  });
});
