import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CheckpointFile, type RangeFile } from '../../src/checkpoint/file.ts';
import { readStrided, simplify } from '../../src/checkpoint/strided.ts';
import { openTorch } from '../../src/checkpoint/torch.ts';
import { randomNumbers, readTensor, temporaryDirectory } from './helpers.ts';
import { torchPickle, torchZip, type WrittenTensor } from './torch-writer.ts';

const classes = [
  ['ByteStorage', 1],
  ['HalfStorage', 2],
  ['FloatStorage', 4],
  ['DoubleStorage', 8],
] as const;

/** Position in the storage of element `flat` of the view, the plain way. */
function position({ offset, shape, strides }: WrittenTensor, flat: number): number {
  let rest = flat;
  let at = offset;
  for (let d = shape.length - 1; d >= 0; d--) {
    const size = shape[d] as number;
    at += (rest % size) * (strides[d] as number);
    rest = Math.floor(rest / size);
  }
  return at;
}

test('random views of random storages, whole and in part', async (t) => {
  const path = join(temporaryDirectory(t), 'model.bin');
  const random = randomNumbers(7);
  const below = (limit: number): number => Math.floor(random() * limit);
  for (let round = 0; round < 300; round++) {
    const [storageClass, elementBytes] = classes[below(classes.length)] as (typeof classes)[number];
    const shape = Array.from({ length: below(5) }, () => 1 + below(7));
    const strides = shape.map(() => (random() < 0.2 ? 0 : below(40)));
    const offset = below(20);
    const last = shape.reduce((at, size, d) => at + (size - 1) * (strides[d] as number), offset);
    const view = { key: '0', storageClass, elements: last + 1 + below(3), offset, shape, strides };
    const storage = Buffer.from(
      Array.from({ length: view.elements * elementBytes }, () => below(256)),
    );
    writeFileSync(path, torchZip(torchPickle({ view }), { 0: storage }));

    const source = await openTorch(path);
    const tensor = source.tensors.get('view');
    assert.ok(tensor !== undefined);
    const elements = shape.reduce((product, size) => product * size, 1);
    const start = below(elements + 1);
    const count = below(elements - start + 1);
    // Off by one byte, so that the target is aligned to nothing.
    const target = new Uint8Array(count * elementBytes + 1).subarray(round % 2);
    await tensor.read(start, count, target.subarray(0, count * elementBytes));
    for (let i = 0; i < count; i++) {
      const from = position(view, start + i) * elementBytes;
      assert.deepEqual(
        Buffer.from(target.subarray(i * elementBytes, (i + 1) * elementBytes)),
        storage.subarray(from, from + elementBytes),
        `${JSON.stringify(view)}, element ${start + i}`,
      );
    }
    await source.close();
  }
});

/** A file that counts. */
function counting(file: RangeFile): RangeFile & { reads: number[] } {
  const reads: number[] = [];
  return {
    path: file.path,
    size: file.size,
    reads,
    read(offset, target) {
      reads.push(target.byteLength);
      return file.read(offset, target);
    },
  };
}

test('contiguous ranges are one read; transposed ones are few, bounded reads', async (t) => {
  const path = join(temporaryDirectory(t), 'data');
  const [rows, columns] = [2048, 1536];
  const data = new Uint16Array(rows * columns).map((_, i) => (i * 40503) & 0xffff);
  writeFileSync(path, data);
  const file = await CheckpointFile.open(path);
  const counter = counting(file);
  const view = { name: 'w', offset: 0, elementBytes: 2 };
  const target = new Uint16Array(data.length);
  const bytes = new Uint8Array(target.buffer);

  const plain = { ...view, dimensions: simplify([rows, 1, columns], [columns, 9, 1]) };
  await readStrided(counter, plain, 0, data.length, bytes);
  assert.deepEqual(counter.reads, [data.byteLength]);
  assert.deepEqual(target, data);

  counter.reads.length = 0;
  const transposed = { ...view, dimensions: simplify([columns, rows], [1, columns]) };
  await readStrided(counter, transposed, 0, data.length, bytes);
  assert.ok(counter.reads.length <= 8, `${counter.reads.length} reads`);
  assert.ok(Math.max(...counter.reads) <= 2 ** 20);
  for (let i = 0; i < data.length; i += 997) {
    const [column, row] = [Math.floor(i / rows), i % rows];
    assert.equal(target[i], data[row * columns + column]);
  }
  await file.close();
});

test('what lies far apart is not read in between', async (t) => {
  const path = join(temporaryDirectory(t), 'data');
  const elements = 2 ** 21;
  writeFileSync(
    path,
    new Uint8Array(elements).map((_, i) => i >> 16),
  );
  const file = await CheckpointFile.open(path);
  const counter = counting(file);
  const far = { name: 'w', offset: 0, elementBytes: 1, dimensions: simplify([16], [2 ** 17]) };
  const target = new Uint8Array(16);
  await readStrided(counter, far, 0, 16, target);
  assert.deepEqual(
    [...target],
    Array.from({ length: 16 }, (_, i) => 2 * i),
  );
  assert.deepEqual(counter.reads, new Array(16).fill(1));
  await file.close();
});

test('an expanded scalar costs one element of reading', async (t) => {
  const path = join(temporaryDirectory(t), 'model.bin');
  const view = {
    key: '0',
    storageClass: 'FloatStorage',
    elements: 1,
    offset: 0,
    shape: [1000, 1000],
    strides: [0, 0],
  };
  writeFileSync(path, torchZip(torchPickle({ view }), { 0: Buffer.from('abcd') }));
  const source = await openTorch(path);
  const tensor = source.tensors.get('view');
  assert.ok(tensor !== undefined);
  assert.equal((await readTensor(tensor, 999_990, 3)).toString(), 'abcdabcdabcd');
  await source.close();
});
