import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CheckpointFile } from '../../src/checkpoint/file.ts';
import { openSafetensors } from '../../src/checkpoint/safetensors.ts';
import { readSafetensorsHeader } from '../../src/checkpoint/safetensors-header.ts';
import {
  readTensor,
  refusal,
  safetensorsBytes,
  temporaryDirectory,
  tensorOf,
  torchSamples,
  writeSafetensors,
} from './helpers.ts';

test('a file that another tool wrote', async () => {
  const path = join(torchSamples, 'multi_layer__multi_layer.safetensors');
  const source = await openSafetensors(path);
  assert.ok(source.tensors.size > 0);
  let bytes = 0;
  for (const tensor of source.tensors.values()) {
    const all = await readTensor(tensor);
    bytes += all.length;
    assert.ok(new Float32Array(new Uint8Array(all).buffer).every(Number.isFinite), tensor.name);
    assert.equal(tensor.file, path);
  }
  assert.equal(source.bytes, bytes);
  await source.close();
});

test('ranges are elements of the tensor, wherever the file puts it', async (t) => {
  const path = join(temporaryDirectory(t), 'model.safetensors');
  writeSafetensors(path, { a: [1, 2, 3], b: [4, 5, 6, 7] });
  const source = await openSafetensors(path);
  const b = tensorOf(source, 'b');
  assert.deepEqual([b.dtype, b.shape, b.contiguous], ['f32', [4], true]);
  const bytes = await readTensor(b, 1, 2);
  assert.deepEqual([bytes.readFloatLE(0), bytes.readFloatLE(4)], [5, 6]);
  assert.equal((await readTensor(b, 4, 0)).length, 0);
  await assert.rejects(b.read(3, 2, new Uint8Array(8)), RangeError);
  await source.close();
});

test('the header alone, with metadata, scalars, empty tensors and padding', async (t) => {
  const path = join(temporaryDirectory(t), 'model.safetensors');
  const header = JSON.stringify({
    __metadata__: { format: 'pt', note: '"a": {"b": 1}' },
    scalar: { dtype: 'I64', shape: [], data_offsets: [0, 8] },
    empty: { dtype: 'BF16', shape: [0, 2 ** 53 - 1, 2 ** 53 - 1], data_offsets: [8, 8] },
    __proto: { dtype: 'BOOL', shape: [2], data_offsets: [8, 10] },
  });
  writeFileSync(path, safetensorsBytes(`${header}     `, Buffer.alloc(10)));
  const file = await CheckpointFile.open(path);
  const { tensors, metadata, dataStart } = await readSafetensorsHeader(file);
  assert.equal(dataStart, 8 + header.length + 5);
  assert.equal(metadata.get('format'), 'pt');
  assert.deepEqual([...tensors.keys()], ['scalar', 'empty', '__proto']);
  assert.deepEqual(tensors.get('__proto'), {
    name: '__proto',
    dtype: 'bool',
    storedAs: 'BOOL',
    shape: [2],
    elements: 2,
    offset: dataStart + 8,
    bytes: 2,
  });
  await file.close();
});

test('a truncated file is named with both sizes', async (t) => {
  const path = join(temporaryDirectory(t), 'model.safetensors');
  writeSafetensors(path, { a: [1, 2, 3], b: [4, 5, 6, 7] });
  const { size } = await CheckpointFile.open(path).then(async (file) => {
    await file.close();
    return file;
  });
  truncateSync(path, size - 1);
  await assert.rejects(
    openSafetensors(path),
    refusal(
      new RegExp(
        `tensor b: truncated: the header describes ${size} bytes, but the file has ${size - 1}`,
      ),
    ),
  );
  truncateSync(path, 20);
  await assert.rejects(
    openSafetensors(path),
    refusal(/the header alone needs \d+ bytes.* has 20\./),
  );
  truncateSync(path, 7);
  await assert.rejects(openSafetensors(path), refusal(/7 bytes are too few for safetensors/));
  truncateSync(path, 0);
  await assert.rejects(openSafetensors(path), refusal(/is empty/));
});

test('a file cut after it was opened', async (t) => {
  const path = join(temporaryDirectory(t), 'model.safetensors');
  writeSafetensors(path, { a: [1, 2, 3] });
  const source = await openSafetensors(path);
  truncateSync(path, 70);
  await assert.rejects(readTensor(tensorOf(source, 'a')), refusal(/tensor a, byte 70: truncated/));
  await source.close();
});

const entry = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };

const damaged: Readonly<Record<string, [header: unknown, message: RegExp]>> = {
  'a header that is no JSON': ['{"a": }', /is not valid JSON: Unexpected token '}', "{"a": }"/],
  'a header that ends early': ['{"a": {', /byte 15: is not valid JSON/],
  'a header that is no object': ['[]', /the header is not a JSON object/],
  'a header that is not UTF-8': [Buffer.from([0x7b, 0xff, 0x7d]).toString('latin1'), /JSON|UTF-8/],
  'a name that occurs twice': [
    `{"a": ${JSON.stringify(entry)}, "\\u0061": ${JSON.stringify(entry)}}`,
    /holds the key "a" twice/,
  ],
  'a field that occurs twice': [
    '{"a": {"dtype": "F32", "shape": [2], "shape": [2], "data_offsets": [0, 8]}}',
    /holds the key "shape" twice/,
  ],
  'metadata that is not text': [{ __metadata__: { a: 1 } }, /not an object of strings/],
  'an entry that is no object': [{ a: null }, /tensor a: its header entry is not an object/],
  'a dtype that is no text': [
    { a: { ...entry, dtype: { toString: 1 } } },
    /dtype .*not the name of a/,
  ],
  'a dtype that is no word': [
    { a: { ...entry, dtype: 'F 8' } },
    /dtype "F 8" is not the name of a dtype/,
  ],
  'a size that does not fit a dtype that is not read': [
    { a: { ...entry, dtype: 'U64' } },
    /span 8 bytes, but U64 \[2\] needs 16/,
  ],
  'a name that acts on the terminal': [
    { 'a\u001b[2J': entry },
    /name of a tensor has control characters: "a\\u001b\[2J"/,
  ],
  'a name without end': [{ ['a'.repeat(2000)]: entry }, /name of a tensor has 2000 characters/],
  'a negative size': [{ a: { ...entry, shape: [-2] } }, /tensor a: its shape \[-2\]/],
  'a fractional size': [{ a: { ...entry, shape: [2.5] } }, /its shape \[2\.5\]/],
  'a shape beyond 2^53': [{ a: { ...entry, shape: [2 ** 40, 2 ** 40] } }, /span 8 bytes/],
  'no offsets': [{ a: { dtype: 'F32', shape: [2] } }, /its data_offsets nothing/],
  'offsets backwards': [{ a: { ...entry, data_offsets: [8, 0] } }, /span -8 bytes/],
  'offsets of another size': [{ a: { ...entry, data_offsets: [0, 4] } }, /span 4 bytes.* needs 8/],
  'offsets beyond the file': [{ a: { ...entry, data_offsets: [8, 16] } }, /truncated: .*describes/],
  'bytes that nothing accounts for': [{}, /describes \d+ bytes, but the file has \d+/],
};

test('tensors of types that are not read are listed, and refused when they are read', async (t) => {
  const path = join(temporaryDirectory(t), 'model.safetensors');
  const types = [
    ['F8_E4M3', [4]],
    ['F4', [2, 4]],
    ['F6_E2M3', [5]], // 30 bits
    ['C64', []],
    ['U16', [2]],
    ['toString', [1, 1]],
  ] as const;
  let end = 0;
  const entries = types.map(([dtype, shape]) => {
    const bytes = dtype === 'C64' ? 8 : 4;
    const data_offsets = [end, end + bytes];
    end += bytes;
    return [dtype, { dtype, shape, data_offsets }] as const;
  });
  const header = { __metadata__: null, ...Object.fromEntries(entries) };
  writeFileSync(path, safetensorsBytes(header, Buffer.alloc(end)));
  const source = await openSafetensors(path);
  for (const [dtype, shape] of types) {
    const tensor = tensorOf(source, dtype);
    assert.deepEqual([tensor.dtype, tensor.storedAs, tensor.shape], ['other', dtype, shape]);
    await assert.rejects(
      readTensor(tensor),
      refusal(new RegExp(`tensor ${dtype}: dtype "${dtype}" is not supported .*F64, F32, .*BOOL`)),
    );
  }
  await source.close();
});

for (const [what, [header, message]] of Object.entries(damaged)) {
  test(`${what} is refused`, async (t) => {
    const path = join(temporaryDirectory(t), 'model.safetensors');
    writeFileSync(path, safetensorsBytes(header, Buffer.alloc(8)));
    await assert.rejects(openSafetensors(path), refusal(message));
  });
}

test('a header longer than allowed, or than any file', async (t) => {
  const path = join(temporaryDirectory(t), 'model.safetensors');
  const file = safetensorsBytes({});
  for (const length of [100_000_001n, 2n ** 63n, 2n ** 64n - 1n]) {
    file.writeBigUInt64LE(length);
    writeFileSync(path, file);
    await assert.rejects(openSafetensors(path), refusal(/is not safetensors: it claims a header/));
  }
});
