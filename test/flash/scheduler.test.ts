import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeviceFile } from '../../src/flash/device-file.ts';
import { type DeviceProfile, defaultProfile } from '../../src/flash/device-profile.ts';
import type { Extent } from '../../src/flash/read-plan.ts';
import { Scheduler } from '../../src/flash/scheduler.ts';
import { FakeDisk, type FakeDiskOptions, type Faults } from '../support/fake-disk.ts';
import { Dice } from '../support/random.ts';

const KIB = 1024;
const diskBytes = 1024 * KIB;

async function setUp(options: FakeDiskOptions = {}, profile: Partial<DeviceProfile> = {}) {
  const disk = new FakeDisk(diskBytes, { direct: true, ...options });
  const file = await DeviceFile.open('weights', disk);
  disk.reads.length = 0;
  return { disk, file, scheduler: new Scheduler({ ...defaultProfile, ...profile }) };
}

/** Page-aligned targets, as WebAssembly memory gives them. */
function extents(file: DeviceFile, ranges: readonly (readonly [number, number])[]): Extent[] {
  const bytes = ranges.reduce((sum, [, length]) => sum + length, 0);
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) + 1 });
  let at = 0;
  return ranges.map(([position, length]) => {
    const target = new Uint8Array(memory.buffer, at, length);
    at += length;
    return { file, position, target };
  });
}

function assertRight(disk: FakeDisk, wanted: readonly Extent[]): void {
  for (const { position, target } of wanted) {
    assert.deepEqual(target, disk.content.slice(position, position + target.length));
  }
}

function randomRanges(dice: Dice): (readonly [number, number])[] {
  const ranges: (readonly [number, number])[] = [];
  for (let at = dice.between(0, 50) * 512; at < diskBytes; ) {
    const bytes = Math.min(dice.between(1, 120) * 512, diskBytes - at);
    ranges.push([at, bytes]);
    at += bytes + (dice.chance(0.5) ? 0 : dice.between(1, 300) * 512);
  }
  return dice.shuffle(ranges);
}

test('what is asked for arrives, whatever the disk does on the way', async () => {
  for (let seed = 1; seed <= 150; seed++) {
    const dice = new Dice(seed);
    const faults: Faults = {
      short: dice.pick([0, 0.2, 0.6]),
      interrupted: dice.pick([0, 0.2]),
      failing: dice.pick([0, 0.05]),
      delay: dice.pick([0, 3, 10]),
    };
    const direct = dice.chance(0.7);
    const alignment = dice.pick([512, 4096]);
    const depth = dice.between(1, 32);
    const { disk, file, scheduler } = await setUp({ seed, faults, direct, alignment }, { depth });
    const requests = Array.from({ length: 3 }, () => extents(file, randomRanges(dice)));
    const tickets = requests.map((wanted) =>
      scheduler.submit(wanted, { priority: dice.pick(['demand', 'prefetch']) }),
    );
    const results = await Promise.allSettled(tickets.map(({ done }) => done));
    results.forEach((result, index) => {
      if (result.status === 'fulfilled') {
        assertRight(disk, requests[index] ?? []);
      } else {
        // Several failures of the same read in a row: an error that names the place.
        const line = (result.reason as { line: string }).line;
        assert.match(line, /^weights, byte \d+: reading failed: (.*injected|no progress)/);
      }
    });
    assert.ok(disk.mostInFlight <= depth);
  }
});

test('a device of 4096-byte sectors is read through aligned staging', async () => {
  const { disk, file, scheduler } = await setUp({ alignment: 4096 });
  assert.equal(file.alignment, 4096);
  const wanted = extents(file, [
    [512, 1536],
    [9 * KIB, 512],
    [200 * KIB, 40 * KIB + 512],
  ]);
  await scheduler.submit(wanted).done;
  assertRight(disk, wanted);
});

test('a byte that cannot be read is named', async () => {
  const { disk, file, scheduler } = await setUp({ faults: { badByte: 600 * KIB } });
  const wanted = extents(file, [[512 * KIB, 256 * KIB]]);
  await assert.rejects(scheduler.submit(wanted).done, {
    name: 'IoError',
    line: /^weights, byte \d+: reading failed: EIO: injected. Check the disk/,
  });
  assert.ok(disk.reads.length >= 5, 'it was tried again');
});

test('a file that shrinks is named, not read for ever', async () => {
  const { file, scheduler } = await setUp({ faults: { truncatedTo: 700 * KIB } }, { depth: 1 });
  const wanted = extents(file, [[512 * KIB, 512 * KIB]]);
  await assert.rejects(scheduler.submit(wanted).done, {
    name: 'IoError',
    line: /^weights, byte 716800: the file ends here although it had 1048576 bytes/,
  });
});

test('demand overtakes prefetch', async () => {
  const { disk, file, scheduler } = await setUp({}, { depth: 1, breakEvenGap: 0, processorMs: 0 });
  const far = extents(file, [
    [0, 32 * KIB],
    [256 * KIB, 32 * KIB],
    [512 * KIB, 32 * KIB],
  ]);
  const prefetch = scheduler.submit(far, { priority: 'prefetch' });
  const demand = scheduler.submit(extents(file, [[768 * KIB, 32 * KIB]]));
  await Promise.all([prefetch.done, demand.done]);
  assert.deepEqual(
    disk.reads.map(({ position }) => position / KIB),
    [0, 768, 256, 512],
  );
});

test('a promoted prefetch goes before the others', async () => {
  const { disk, file, scheduler } = await setUp({}, { depth: 1 });
  const first = scheduler.submit(extents(file, [[0, 32 * KIB]]), { priority: 'prefetch' });
  const second = scheduler.submit(extents(file, [[256 * KIB, 32 * KIB]]), { priority: 'prefetch' });
  const third = scheduler.submit(extents(file, [[512 * KIB, 32 * KIB]]), { priority: 'prefetch' });
  third.promote();
  await Promise.all([first.done, second.done, third.done]);
  assert.deepEqual(
    disk.reads.map(({ position }) => position / KIB),
    [0, 512, 256],
  );
});

test('a cancelled prefetch reads no more, and its memory is at rest', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const dice = new Dice(seed);
    const { disk, file, scheduler } = await setUp(
      { seed, faults: { delay: 8, short: 0.3 } },
      { depth: dice.between(1, 6), breakEvenGap: 0, processorMs: 0 },
    );
    const wanted = extents(file, randomRanges(dice));
    const ticket = scheduler.submit(wanted, { priority: 'prefetch' });
    for (let turn = dice.between(0, 12); turn > 0; turn--) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ticket.cancel();
    const before = wanted.map(({ target }) => target.slice());
    const reads = disk.reads.length;
    // The memory may now be given to someone else: nothing may write to it any more.
    for (let turn = 0; turn < 30; turn++) await new Promise((resolve) => setImmediate(resolve));
    wanted.forEach(({ target }, index) => {
      assert.deepEqual(target, before[index]);
    });
    assert.equal(disk.reads.length, reads);
    await ticket.done.then(
      () => assertRight(disk, wanted),
      (error: Error) => assert.equal(error.name, 'InterruptedError'),
    );
  }
});

test('statistics count what the operating system was asked for', async () => {
  const { disk, file, scheduler } = await setUp({ faults: { short: 0.5 }, seed: 5 });
  await scheduler.submit(extents(file, [[0, 512 * KIB]])).done;
  const { bytes, reads, histogram } = scheduler.stats.snapshot();
  assert.equal(reads, disk.reads.length);
  assert.equal(
    bytes,
    disk.reads.reduce((sum, read) => sum + read.bytes, 0),
  );
  assert.equal(
    Object.values(histogram).reduce((sum, count) => sum + count, 0),
    reads,
  );
});

test('a file system that refuses direct I/O is read buffered', async () => {
  const { disk, file, scheduler } = await setUp({ direct: false });
  assert.equal(file.direct, false);
  const wanted = extents(file, [[13, 100_001]]);
  await scheduler.submit(wanted).done;
  assertRight(disk, wanted);
});
