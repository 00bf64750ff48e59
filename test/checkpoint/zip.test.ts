import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RangeFile } from '../../src/checkpoint/file.ts';
import { ZipArchive } from '../../src/checkpoint/zip.ts';
import { zipBytes } from './torch-writer.ts';

/** A file in memory that counts how often it is read. */
function countedFile(bytes: Buffer): { readonly file: RangeFile; readonly reads: () => number } {
  let reads = 0;
  const file = {
    path: 'model.bin',
    size: bytes.length,
    async read(offset: number, target: Uint8Array) {
      reads++;
      assert.ok(offset + target.length <= bytes.length, 'nothing beyond the end is asked for');
      target.set(bytes.subarray(offset, offset + target.length));
    },
  };
  return { file, reads: () => reads };
}

test('a directory of many entries is read in large pieces, and each entry found', async () => {
  const names = Array.from({ length: 5_000 }, (_, index) => `archive/data/${index}`);
  const contents = names.map((name) => [name, Buffer.from(name.repeat(3))] as const);
  const { file, reads } = countedFile(zipBytes(Object.fromEntries(contents)));
  const zip = await ZipArchive.open(file);
  assert.equal(zip.names.size, names.length);
  assert.ok(reads() < 100, `${reads()} reads`);
  for (const [name, content] of [contents[0], contents[2_499], contents.at(-1)].flatMap((c) =>
    c ? [c] : [],
  )) {
    assert.deepEqual(await zip.read(name, 1_000), content);
  }
});

test('entries that are read at the same time do not mix', async () => {
  const contents = Array.from({ length: 40 }, (_, i) => [`${i}`, Buffer.alloc(9_000, i)] as const);
  const { file } = countedFile(zipBytes(Object.fromEntries(contents)));
  const zip = await ZipArchive.open(file);
  const read = await Promise.all(contents.map(([name]) => zip.read(name, 9_000)));
  assert.deepEqual(
    read,
    contents.map(([, content]) => content),
  );
});
