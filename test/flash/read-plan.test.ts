import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeviceFile } from '../../src/flash/device-file.ts';
import {
  type Extent,
  type PlannedRead,
  planReads,
  type ReadLimits,
  smallestRead,
} from '../../src/flash/read-plan.ts';
import { FakeDisk } from '../support/fake-disk.ts';
import { Dice } from '../support/random.ts';

const KIB = 1024;
const limits: ReadLimits = {
  breakEvenGap: 16 * KIB,
  largestRead: 1024 * KIB,
  smallestPiece: 32 * KIB,
  lanes: 1,
};

async function fileOf(bytes: number, alignment = 512): Promise<DeviceFile> {
  const direct = alignment > 1;
  return DeviceFile.open('weights', new FakeDisk(bytes, { direct, alignment }));
}

function extent(file: DeviceFile, position: number, bytes: number): Extent {
  return { file, position, target: new Uint8Array(bytes) };
}

function shape(reads: readonly PlannedRead[]) {
  return reads.map(({ position, bytes }) => [position, bytes]);
}

test('neighbours become one read that scatters', async () => {
  const file = await fileOf(1024 * KIB);
  const reads = planReads(
    [extent(file, 64 * KIB, 32 * KIB), extent(file, 32 * KIB, 32 * KIB)],
    limits,
  );
  assert.deepEqual(shape(reads), [[32 * KIB, 64 * KIB]]);
  assert.equal(reads[0]?.parts.length, 2);
});

test('a small gap is read over, a large one is not', async () => {
  const file = await fileOf(1024 * KIB);
  const near = planReads([extent(file, 0, 32 * KIB), extent(file, 48 * KIB, 32 * KIB)], limits);
  assert.deepEqual(shape(near), [[0, 80 * KIB]]);
  assert.deepEqual(
    near[0]?.parts.map(({ target }) => target === null),
    [false, true, false],
  );
  const far = planReads([extent(file, 0, 32 * KIB), extent(file, 64 * KIB, 32 * KIB)], limits);
  assert.equal(far.length, 2);
});

test('isolated reads are raised to 32 KiB, at the end of the file backwards', async () => {
  const file = await fileOf(256 * KIB);
  const reads = planReads(
    [extent(file, 8 * KIB, 16 * KIB), extent(file, 240 * KIB, 16 * KIB)],
    limits,
  );
  assert.deepEqual(shape(reads), [
    [8 * KIB, 32 * KIB],
    [224 * KIB, 32 * KIB],
  ]);
});

test('less than 32 KiB in all is not inflated', async () => {
  const file = await fileOf(256 * KIB);
  assert.deepEqual(shape(planReads([extent(file, 8 * KIB, 16 * KIB)], limits)), [
    [8 * KIB, 16 * KIB],
  ]);
});

test('a long run is split over the free lanes, never below the smallest piece', async () => {
  const file = await fileOf(4096 * KIB);
  const run = [extent(file, 0, 1024 * KIB)];
  assert.equal(planReads(run, { ...limits, lanes: 8 }).length, 8);
  assert.equal(planReads(run, { ...limits, lanes: 1 }).length, 1);
  const pieces = planReads(run, { ...limits, lanes: 32, smallestPiece: 256 * KIB });
  assert.equal(pieces.length, 4);
});

test('what comes along goes to offered places', async () => {
  const file = await fileOf(1024 * KIB);
  const kept = extent(file, 24 * KIB, 4 * KIB);
  const reads = planReads(
    [extent(file, 0, 16 * KIB), extent(file, 512 * KIB, 32 * KIB)],
    limits,
    (_file, position, bytes) =>
      position <= kept.position && kept.position + 4 * KIB <= position + bytes ? [kept] : [],
  );
  const parts = reads[0]?.parts ?? [];
  assert.ok(parts.some(({ target }) => target === kept.target));
  assert.equal(
    parts.reduce((sum, { bytes }) => sum + bytes, 0),
    32 * KIB,
  );
});

test('an extent beyond the end of its file is refused by name and offset', async () => {
  const file = await fileOf(64 * KIB);
  assert.throws(() => planReads([extent(file, 60 * KIB, 8 * KIB)], limits), {
    name: 'InputError',
    line: /weights, byte 61440: .*beyond the file's end/,
  });
});

test('properties hold for thousands of random requests', async () => {
  const dice = new Dice(11);
  const files = await Promise.all(
    [1, 512, 4096].flatMap((alignment) =>
      [16, 64, 200, 511].map((sectors) => fileOf(sectors * 4096, alignment)),
    ),
  );
  for (let round = 0; round < 3000; round++) {
    const file = dice.pick(files);
    const { size, alignment } = file;
    const unit = alignment === 1 ? dice.pick([1, 7, 512]) : 512;
    const random: ReadLimits = {
      breakEvenGap: dice.between(0, 64) * KIB,
      largestRead: dice.pick([32, 64, 256, 1024]) * KIB,
      smallestPiece: dice.pick([32, 64, 128]) * KIB,
      lanes: dice.between(1, 32),
    };
    const extents: Extent[] = [];
    let at = dice.between(0, 20) * unit;
    while (extents.length < dice.between(1, 60)) {
      const bytes = dice.between(1, dice.chance(0.1) ? 400 : 40) * unit;
      if (at + bytes > size) break;
      extents.push(extent(file, at, bytes));
      at += bytes + (dice.chance(0.4) ? 0 : dice.between(1, 200) * unit);
    }
    const reads = planReads(dice.shuffle(extents), random);
    checkPlan(file, extents, reads, random);
  }
});

/** Everything wanted is read exactly once, into its place, by reads the device accepts. */
function checkPlan(
  file: DeviceFile,
  extents: readonly Extent[],
  reads: readonly PlannedRead[],
  { largestRead, smallestPiece }: ReadLimits,
): void {
  const owner = new Map<ArrayBufferLike, Extent>();
  for (const wanted of extents) owner.set(wanted.target.buffer, wanted);
  const covered = new Map<Extent, number>();
  for (const read of reads) {
    assert.equal(read.position % file.alignment, 0, 'offset is aligned');
    assert.equal(read.bytes % file.alignment, 0, 'length is aligned');
    assert.ok(read.position >= 0);
    assert.ok(read.position < file.size, 'a read begins inside the file');
    const largest = Math.max(largestRead, smallestPiece) + smallestRead;
    assert.ok(read.bytes <= largest + 2 * file.alignment, `${read.bytes} is not too large`);
    assert.ok(read.parts.length <= 1000);
    let position = read.position;
    for (const { bytes, target } of read.parts) {
      assert.ok(bytes > 0);
      if (target !== null) {
        assert.equal(target.length, bytes);
        const wanted = owner.get(target.buffer);
        assert.ok(wanted !== undefined);
        assert.equal(position, wanted.position + target.byteOffset, 'bytes go to their place');
        const done = covered.get(wanted) ?? 0;
        assert.equal(target.byteOffset, done, 'in order, once');
        covered.set(wanted, done + bytes);
      }
      position += bytes;
    }
    assert.equal(position, read.position + read.bytes, 'parts add up');
  }
  for (const wanted of extents) assert.equal(covered.get(wanted), wanted.target.length, 'whole');
  const total = extents.reduce((sum, { target }) => sum + target.length, 0);
  if (total >= smallestRead) {
    for (const { bytes } of reads) {
      assert.ok(bytes >= Math.min(smallestRead, file.size), `${bytes} is not too small`);
    }
  }
}
