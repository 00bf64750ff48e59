import assert from 'node:assert/strict';
import { copyFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { sourceDTypes } from '../../src/checkpoint/source-dtype.ts';
import { openTorch } from '../../src/checkpoint/torch.ts';
import {
  elementsOf,
  readTensor,
  refusal,
  temporaryDirectory,
  tensorOf,
  torchSamples,
} from './helpers.ts';
import { torchPickle, torchZip, type WrittenTensor, zipBytes } from './torch-writer.ts';

type Reference = Record<string, Record<string, { dtype: string; shape: number[]; bytes: string }>>;

/** What PyTorch itself reads from the samples. */
const reference = JSON.parse(
  readFileSync(join(torchSamples, 'reference.json'), 'utf8'),
) as Reference;

const refused: Readonly<Record<string, RegExp>> = {
  'big_endian.pt': /big-endian machine/,
  'broken.pt': /was not written by torch\.save/,
  'compressed.pt': /entry ".*" is compressed, not stored/,
  'foreign_global.pt': /names posix\.system, which is refused: a pickle .* as safetensors\./,
};

for (const [file, tensors] of Object.entries(reference)) {
  test(`${file} holds what PyTorch reads from it`, async () => {
    const source = await openTorch(join(torchSamples, file));
    assert.deepEqual([...source.tensors.keys()].sort(), Object.keys(tensors).sort());
    for (const [name, expected] of Object.entries(tensors)) {
      const tensor = tensorOf(source, name);
      assert.equal(
        tensor.dtype !== 'other' && sourceDTypes[tensor.dtype].torch,
        expected.dtype,
        name,
      );
      assert.deepEqual(tensor.shape, expected.shape, name);
      assert.equal((await readTensor(tensor)).toString('hex'), expected.bytes, name);
    }
    await source.close();
  });
}

/** Files with a tensor of a type that is not read, and what is said when it is. */
const unread: Readonly<Record<string, [tensor: string, message: RegExp]>> = {
  'complex.pt': [
    'spectrum',
    /tensor spectrum: dtype complex64 is not supported \(supported: float64, .*bool\)/,
  ],
  'float8.pt': ['tiny', /tensor tiny: dtype float8_e4m3fn is not supported/],
};

for (const [file, [name, message]] of Object.entries(unread)) {
  test(`${file} opens, and ${name} is refused when it is read`, async () => {
    const source = await openTorch(join(torchSamples, file));
    await assert.rejects(readTensor(tensorOf(source, name)), refusal(message));
    await source.close();
  });
}

for (const [file, message] of Object.entries(refused)) {
  test(`${file} is refused`, async () => {
    await assert.rejects(openTorch(join(torchSamples, file)), refusal(message));
  });
}

test('every sample is either read or refused on purpose', () => {
  const samples = readdirSync(torchSamples).filter((name) => name.endsWith('.pt'));
  const expected = [reference, refused, unread].flatMap((files) => Object.keys(files));
  assert.deepEqual(samples.sort(), expected.sort());
});

test('a storage that two tensors share counts once', async () => {
  const source = await openTorch(join(torchSamples, 'tied_parameters_bf16.pt'));
  assert.equal(source.bytes, (6 * 4 + 4) * 2);
  await source.close();
});

test('views know whether they are contiguous', async () => {
  const source = await openTorch(join(torchSamples, 'views.pt'));
  const contiguous = [...source.tensors.values()].filter((tensor) => tensor.contiguous);
  assert.deepEqual(
    contiguous.map((tensor) => tensor.name),
    ['whole', 'row', 'nothing', 'one'],
  );
  await source.close();
});

test('a wrong range is a mistake of the caller', async () => {
  const source = await openTorch(join(torchSamples, 'views.pt'));
  const tensor = tensorOf(source, 'transposed');
  assert.equal(elementsOf(tensor), 77);
  await assert.rejects(tensor.read(70, 8, new Uint8Array(32)), RangeError);
  await assert.rejects(tensor.read(0, 8, new Uint8Array(31)), RangeError);
  await assert.rejects(tensor.read(-1, 1, new Uint8Array(4)), RangeError);
  await source.close();
});

test('a truncated file is refused, legacy with both sizes', async (t) => {
  const path = join(temporaryDirectory(t), 'pytorch_model.bin');
  copyFileSync(join(torchSamples, 'views.pt'), path);
  truncateSync(path, 3000);
  await assert.rejects(
    openTorch(path),
    refusal(/truncated or damaged: no complete zip archive in its 3000 bytes/),
  );
  copyFileSync(join(torchSamples, 'simple_legacy.pt'), path);
  truncateSync(path, 610);
  await assert.rejects(
    openTorch(path),
    refusal(/byte \d+: truncated: storage "94081736991712" ends at byte 614, but the file has 610/),
  );
});

const vector: WrittenTensor = {
  key: '0',
  storageClass: 'FloatStorage',
  elements: 6,
  offset: 0,
  shape: [2, 3],
  strides: [3, 1],
};

const impossible: Readonly<Record<string, [change: Partial<WrittenTensor>, message: RegExp]>> = {
  'an offset beyond the storage': [
    { offset: 1 },
    /needs element 6 of its storage, which has only 6 elements/,
  ],
  'a negative offset': [{ offset: -1 }, /offset -1 do not describe a tensor/],
  'a negative stride': [{ strides: [3, -1] }, /do not describe a tensor/],
  'strides that lead outside': [
    { strides: [4, 1] },
    /needs element 6 of its storage, which has only 6 elements/,
  ],
  'more strides than sizes': [{ strides: [3, 1, 1] }, /do not describe a tensor/],
  'a size beyond 2^53': [
    { shape: [2 ** 30, 2 ** 30], strides: [0, 0] },
    /do not describe a tensor/,
  ],
  'a storage longer than its entry': [{ elements: 7 }, /needs 28 bytes, but the file has 24/],
  'a storage without an entry': [{ key: '1' }, /its storage "1" is missing/],
};

for (const [what, [change, message]] of Object.entries(impossible)) {
  test(`${what} is refused by the tensor's name`, async (t) => {
    const path = join(temporaryDirectory(t), 'model.bin');
    const pickle = torchPickle({ fine: vector, 'a.b': { ...vector, ...change } });
    writeFileSync(path, torchZip(pickle, { 0: Buffer.alloc(24) }));
    await assert.rejects(
      openTorch(path),
      refusal(new RegExp(`tensor a\\.b(, byte \\d+)?: .*${message.source}`)),
    );
  });
}

test('archives that torch.save does not write are refused', async (t) => {
  const path = join(temporaryDirectory(t), 'model.bin');
  const pickle = torchPickle({ w: vector });
  writeFileSync(path, zipBytes({ 'a/data.pkl': pickle, 'b/data.pkl': pickle }));
  await assert.rejects(openTorch(path), refusal(/2 entries named data\.pkl/));
  writeFileSync(path, zipBytes({ 'a/readme': pickle }));
  await assert.rejects(openTorch(path), refusal(/0 entries named data\.pkl/));
});
