/** GGUF headers, intact and damaged in every way that a header can be. */

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openGguf } from '../../src/checkpoint/gguf/gguf-file.ts';
import { TextList } from '../../src/text-list.ts';
import { ggufFixtures } from '../support/fixtures.ts';
import {
  array,
  f32Type,
  type GgufParts,
  type GgufTensorParts,
  ggufBytes,
  q4KType,
  text,
  u64,
  value,
} from '../support/gguf.ts';
import { readTensor, refusal, temporaryDirectory, tensorOf } from './helpers.ts';

function write(t: TestContext, bytes: Buffer, name = 'model.gguf'): string {
  const path = join(temporaryDirectory(t), name);
  writeFileSync(path, bytes);
  return path;
}

function floats(name: string, values: readonly number[], more = {}): GgufTensorParts {
  const data = Buffer.from(Float32Array.from(values).buffer);
  return { name, sizes: [values.length], type: f32Type, data, ...more };
}

async function refused(t: TestContext, parts: GgufParts | Buffer, pattern: RegExp): Promise<void> {
  const path = write(t, Buffer.isBuffer(parts) ? parts : ggufBytes(parts));
  await assert.rejects(openGguf(path), refusal(pattern));
}

function textsOf(value: unknown): readonly string[] {
  assert.ok(value instanceof TextList);
  return [...value];
}

test('metadata and tensors are read', async (t) => {
  const path = write(
    t,
    ggufBytes({
      metadata: [
        ['a.text', value.text('één')],
        ['a.count', value.u32(7)],
        ['a.flag', value.bool(true)],
        ['a.real', value.f32(0.5)],
        ['a.texts', value.texts(['x', '', 'yz'])],
        ['a.reals', value.f32s([1, -2])],
        ['general.alignment', value.u32(64)],
      ],
      tensors: [
        { ...floats('matrix', [1, 2, 3, 4, 5, 6]), sizes: [3, 2] },
        floats('vector', [7, 8]),
      ],
      alignment: 64,
    }),
  );
  const source = await openGguf(path);
  t.after(() => source.close());
  assert.equal(source.metadata.get('a.text'), 'één');
  assert.equal(source.metadata.get('a.count'), 7);
  assert.equal(source.metadata.get('a.flag'), true);
  assert.equal(source.metadata.get('a.real'), 0.5);
  assert.deepEqual(textsOf(source.metadata.get('a.texts')), ['x', '', 'yz']);
  assert.deepEqual(source.metadata.get('a.reals'), Float32Array.of(1, -2));
  assert.deepEqual(tensorOf(source, 'matrix').shape, [2, 3]);
  assert.equal(source.bytes, 32);
  const read = await readTensor(tensorOf(source, 'vector'));
  assert.deepEqual([read.readFloatLE(0), read.readFloatLE(4)], [7, 8]);
});

test('tensors of types that are not read are listed, and refused when they are read', async (t) => {
  const types = [
    [16, 'IQ2_XXS'],
    [4711, 'number 4711'],
  ] as const;
  const tensors = types.map(([type, name]) => ({ ...floats(name, [1, 2]), type }));
  const source = await openGguf(write(t, ggufBytes({ tensors: [...tensors, floats('w', [3])] })));
  t.after(() => source.close());
  for (const [, name] of types) {
    const pattern = new RegExp(`tensor ${name}: the tensor type ${name} is not supported.*Q4_K`);
    await assert.rejects(readTensor(tensorOf(source, name)), refusal(pattern));
  }
  assert.equal((await readTensor(tensorOf(source, 'w'))).readFloatLE(), 3);
});

test('values longer than what is read at once are whole', async (t) => {
  const long = 'long '.repeat(200_000);
  const many = Array.from({ length: 60_000 }, (_, i) => `token ${i}`);
  const metadata = [
    ['a', value.text(long)],
    ['b', value.texts(many)],
    ['c', value.u32(3)],
  ] as const;
  const source = await openGguf(write(t, ggufBytes({ metadata })));
  t.after(() => source.close());
  assert.equal(source.metadata.get('a'), long);
  assert.deepEqual(textsOf(source.metadata.get('b')), many);
  assert.equal(source.metadata.get('c'), 3);
});

test('texts are whole wherever a window ends, and however long they are', async (t) => {
  // Short ones end at many places of a window of 256 KiB; texts of 64 KiB and more are read one by one.
  const short = Array.from({ length: 60_000 }, (_, i) => 'é'.repeat(i % 11) + i);
  const long = [65_535, 65_536, 300_000].map((bytes) => 'x'.repeat(bytes));
  const all = [...short.slice(0, 30_000), ...long, '', ...short.slice(30_000), ...long];
  const metadata = [
    ['a', value.texts(all)],
    ['b', value.i32s([1, 2, 3])],
  ] as const;
  const source = await openGguf(write(t, ggufBytes({ metadata })));
  assert.deepEqual(textsOf(source.metadata.get('a')), all);
  assert.deepEqual([...(source.metadata.get('b') as Int32Array)], [1, 2, 3]);
  await source.close();
});

test('what is no GGUF of a known version is refused', async (t) => {
  await refused(t, { magic: 'GGML' }, /model\.gguf, byte 0: is not GGUF/);
  await refused(t, Buffer.from('GG'), /is not GGUF/);
  await refused(t, Buffer.from('GGUF\x03\0\0\0'), /truncated: the header needs bytes 4 to 24/);
  await refused(t, { version: Buffer.from([1, 0, 0, 0]) }, /byte 4: GGUF version 1 is not/);
  await refused(t, { version: Buffer.from([4, 0, 0, 0]) }, /GGUF version 4 is not supported/);
  await refused(t, { version: Buffer.from([0, 0, 0, 3]) }, /big-endian/);
  await refused(t, Buffer.from('version https://git-lfs.github.com/spec/v1\n'), /git-LFS pointer/);
  await refused(t, Buffer.alloc(0), /is empty/);
});

test('counts and lengths are held against limits before they are used', async (t) => {
  const huge = 2n ** 63n;
  await refused(t, { tensorCount: huge }, /byte 8: claims 9223372036854775808 tensors \(at most/);
  await refused(t, { keyCount: huge }, /byte 16: claims 9223372036854775808 metadata keys/);
  const tooMany = (code: number, count: bigint) => [['k', array(code, [], count)] as const];
  await refused(t, { metadata: tooMany(6, huge) }, /"k" claims \d+ elements \(at most 4194304\)/);
  await refused(t, { metadata: tooMany(6, 4_000_000n) }, /truncated: the value of "k" needs/);
  await refused(t, { metadata: tooMany(8, 4_000_000n) }, /truncated: the value of "k" needs/);
  await refused(t, { metadata: tooMany(9, 1n) }, /"k" is an array of arrays/);
  await refused(t, { metadata: tooMany(99, 1n) }, /"k" has the unknown type 99/);
  const longText = Buffer.concat([Buffer.from([8, 0, 0, 0]), u64(2n ** 40n)]);
  await refused(t, { metadata: [['k', longText]] }, /"k" claims 1099511627776 bytes \(at most/);
  await refused(t, { metadata: [['k', Buffer.from([77, 0, 0, 0])]] }, /unknown type 77/);
  const twice = ['k', value.u32(1)] as const;
  await refused(t, { metadata: [twice, twice] }, /holds the key "k" twice/);
});

test('every tensor must have a type, a shape and a place', async (t) => {
  const block = { sizes: [256], type: q4KType, data: Buffer.alloc(144) };
  const one = (change: Partial<GgufTensorParts>) => ({
    tensors: [{ ...floats('w', [1, 2]), ...change }],
  });
  await refused(t, one({ sizes: [2, 1, 1, 1, 1] }), /tensor w, byte 24: has 5 dimensions/);
  await refused(t, one({ sizes: [0] }), /its sizes \[0\] are not valid tensor dimensions/);
  await refused(t, one({ sizes: [2n ** 63n] }), /are not valid tensor dimensions/);
  await refused(t, one({ sizes: [2n ** 32n, 2n ** 32n] }), /are not valid tensor dimensions/);
  await refused(
    t,
    one({ ...block, sizes: [128] }),
    /its rows have 128 values, which is not a multiple of the 256/,
  );
  await refused(
    t,
    one({ offset: 4 }),
    /its data begins at byte 4, which is not a multiple of the alignment, 32/,
  );
  await refused(t, one({ offset: 2n ** 60n }), /its data begins at|truncated/);
  await refused(t, one({ sizes: [1000] }), /tensor w, byte \d+: truncated: its data ends at/);
  await refused(t, one({ name: 'a\nb' }), /control characters/);
  const pair = [floats('w', [1, 2]), floats('v', [3])];
  await refused(t, { tensors: [pair[0], pair[0]] as GgufTensorParts[] }, /twice in the header/);
  const shared = pair.map((tensor) => ({ ...tensor, offset: 0 }));
  await refused(t, { tensors: shared }, /its data overlaps the data of [wv]/);
  for (const alignment of [0, 3, 2 ** 20]) {
    const metadata = [['general.alignment', value.u32(alignment)]] as const;
    await refused(t, { metadata }, /general\.alignment \d+ is not a power of two/);
  }
});

test('a file cut anywhere is refused', async (t) => {
  const whole = readFileSync(join(ggufFixtures, 'llama', 'model.gguf'));
  for (let cut = 0; cut < whole.length; cut += 1 + Math.floor(whole.length / 300)) {
    await refused(t, whole.subarray(0, cut), /truncated|is empty|is not GGUF/);
  }
});

test('flipped bytes of the header are refused, or change what is read, but never crash', async (t) => {
  const whole = readFileSync(join(ggufFixtures, 'tokenizers', 'pieces.gguf'));
  const dir = temporaryDirectory(t);
  const path = join(dir, 'flipped.gguf');
  for (let at = 0; at < whole.length; at += 7) {
    const bytes = Buffer.from(whole);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8)) ^ 0x80;
    writeFileSync(path, bytes);
    await openGguf(path).then(
      (source) => source.close(),
      (error: unknown) => refusal(/./)(error),
    );
  }
});

test('a model in several files is opened by its first', async (t) => {
  const dir = temporaryDirectory(t);
  const part = (number: number, tensors: readonly GgufTensorParts[], more = {}) => {
    const path = join(dir, `m-0000${number}-of-00002.gguf`);
    const metadata = [
      ['split.no', value.u32(number - 1)],
      ['split.count', value.u32(2)],
      ['split.tensors.count', value.u32(2)],
    ] as const;
    writeFileSync(path, ggufBytes({ metadata, tensors, ...more }));
    return path;
  };
  const first = part(1, [floats('a', [1])]);
  await assert.rejects(openGguf(first), refusal(/m-00002-of-00002\.gguf: no such file/));
  const second = part(2, [floats('b', [2])]);
  const source = await openGguf(first);
  assert.deepEqual([...source.tensors.keys()], ['a', 'b']);
  await source.close();
  await assert.rejects(openGguf(second), refusal(/is not the first of its 2 files/));
  part(2, [floats('a', [2])]);
  await assert.rejects(openGguf(first), refusal(/tensor a: another file of this model also holds/));
  part(2, []);
  await assert.rejects(
    openGguf(first),
    refusal(/the model.s files hold 1 tensors, but split\.tensors\.count is 2/),
  );
  part(2, [floats('b', [2])], { metadata: [] });
  await assert.rejects(openGguf(first), refusal(/is named as file 2 of the model, but/));
  const renamed = write(t, readFileSync(first), 'renamed.gguf');
  await assert.rejects(openGguf(renamed), refusal(/is not named like name-00001-of-00002\.gguf/));
});

test('names that are no UTF-8 are read with replacement characters', async (t) => {
  const bytes = ggufBytes({ metadata: [['k', value.text('abcd')]] });
  const at = bytes.indexOf(text('abcd')) + 8;
  bytes[at] = 0xff;
  const source = await openGguf(write(t, bytes));
  t.after(() => source.close());
  assert.equal(source.metadata.get('k'), '\ufffdbcd');
});
