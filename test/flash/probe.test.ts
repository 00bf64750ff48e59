import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DeviceFile } from '../../src/flash/device-file.ts';
import {
  defaultProfile,
  lanesFor,
  loadProfile,
  readLimits,
  saveProfile,
} from '../../src/flash/device-profile.ts';
import { measureCell, type ProbeCell, probeDepths, profileFrom } from '../../src/flash/probe.ts';
import { probeFileIn } from '../../src/flash/probe-file.ts';
import { FakeDisk } from '../support/fake-disk.ts';
import { temporaryRoot } from '../support/temporary.ts';

const KIB = 1024;
const root = temporaryRoot();

/** What a device would show that takes `fixedMs` per read and has one channel of `bandwidth`. */
function cellsOf(bandwidth: number, fixedMs: number): ProbeCell[] {
  return [4, 32, 64, 128, 256, 1024].flatMap((kib) =>
    probeDepths.map((depth) => {
      const chunk = kib * KIB;
      const seconds = (fixedMs / 1000) * (32 / depth) + chunk / bandwidth;
      return {
        chunk,
        depth,
        direct: true,
        bytesPerSecond: chunk / seconds,
        readsPerSecond: 1 / seconds,
        latencyMs: seconds * depth * 1000,
        processorMs: 0.03,
      };
    }),
  );
}

test('a profile finds the break-even gap of a simple device', () => {
  // 0.02 ms of fixed time at 1 GB/s are the bytes of a gap of 20 kB.
  const profile = profileFrom(cellsOf(1e9, 0.02));
  assert.ok(Math.abs(profile.breakEvenGap - 20_000) < 2000, `${profile.breakEvenGap}`);
  assert.ok(Math.abs(profile.bandwidth - 1e9) < 5e7);
  assert.equal(profile.smallestPiece, 64 * KIB);
  assert.equal(profile.depth, 32);
  assert.equal(profile.source, 'measured');
});

test('gaps are read over while they cost less than a read costs device or processor', () => {
  const profile = { ...defaultProfile, bandwidth: 1e9, breakEvenGap: 4096, processorMs: 0.03 };
  assert.equal(readLimits(profile).breakEvenGap, 29_696);
  assert.equal(readLimits({ ...profile, processorMs: 0 }).breakEvenGap, 4096);
  // However slow a processor is, bytes count as well.
  assert.equal(readLimits({ ...profile, processorMs: 10 }).breakEvenGap, 48 * KIB);
  // What was measured holds the processor's time, which is no reason for more; a slow device's is.
  const measured = { ...profile, breakEvenGap: 64 * KIB, processorMs: 0.048 };
  assert.equal(readLimits(measured).breakEvenGap, 47_616);
  assert.equal(readLimits({ ...measured, breakEvenGap: 256 * KIB }).breakEvenGap, 214_528);
});

test('no more lanes are used than a processor can serve beside its own work', () => {
  // 0.025 ms are the time of 50,000 bytes: in pieces of eight times as many they take an eighth of a core.
  const profile = { bandwidth: 2e9, processorMs: 0.025 };
  assert.equal(lanesFor(2_654_208, profile), 7);
  assert.equal(lanesFor(64e6, profile), 160);
  // Little is cut all the same.
  assert.equal(lanesFor(300_000, profile), 4);
  assert.equal(lanesFor(300_000, { ...profile, processorMs: 0 }), Number.POSITIVE_INFINITY);
});

test('a device that gains nothing from size or depth gets no gap and few reads', () => {
  const profile = profileFrom(cellsOf(1e9, 0));
  assert.equal(profile.breakEvenGap, 0);
  assert.equal(profile.smallestPiece, 32 * KIB);
  assert.equal(profile.depth, 8);
});

test('a cell counts what was read, with the depth asked for', async () => {
  const disk = new FakeDisk(512 * KIB, { direct: true });
  const file = await DeviceFile.open('weights', disk);
  disk.reads.length = 0;
  const cell = await measureCell(file, { chunk: 32 * KIB, depth: 4, ms: 300 });
  assert.equal(disk.mostInFlight, 4);
  assert.ok(disk.reads.every(({ bytes }) => bytes === 32 * KIB));
  assert.equal(new Set(disk.reads.map(({ position }) => position)).size, 16, 'all places');
  assert.ok(Math.abs(cell.bytesPerSecond - cell.readsPerSecond * 32 * KIB) < 1);
});

test('a buffered cell reads each place once', async () => {
  const disk = new FakeDisk(512 * KIB);
  const file = await DeviceFile.open('weights', disk);
  disk.reads.length = 0;
  await measureCell(file, { chunk: 64 * KIB, depth: 2, ms: 1000 });
  assert.equal(disk.reads.length, 8);
});

test('a failing device ends the measurement', async () => {
  const disk = new FakeDisk(512 * KIB, { direct: true, faults: { badByte: 100 * KIB } });
  const file = await DeviceFile.open('weights', disk);
  await assert.rejects(measureCell(file, { chunk: 64 * KIB, depth: 4, ms: 1000 }), /EIO/);
});

test('profiles are kept per device, and damaged ones count as none', async () => {
  const cache = root.directory();
  const before = process.env.FLASHLLM_CACHE;
  process.env.FLASHLLM_CACHE = cache;
  try {
    assert.deepEqual(await loadProfile(root.path), defaultProfile);
    const profile = { ...defaultProfile, bandwidth: 3e9, source: 'measured' as const };
    assert.equal(await saveProfile(root.path, profile), true);
    assert.deepEqual(await loadProfile(root.path), profile);
    // A run queues more reads than the device needs.
    assert.ok(await saveProfile(root.path, { ...profile, depth: 8 }));
    assert.deepEqual(await loadProfile(root.path), { ...profile, depth: 32 });
    writeFileSync(join(cache, 'devices.json'), '{"x": ');
    assert.deepEqual(await loadProfile(root.path), defaultProfile);
    rmSync(cache, { recursive: true });
    writeFileSync(cache, 'not a directory');
    assert.equal(await saveProfile(root.path, profile), false);
  } finally {
    if (before === undefined) delete process.env.FLASHLLM_CACHE;
    else process.env.FLASHLLM_CACHE = before;
    rmSync(cache, { recursive: true, force: true });
    mkdirSync(cache);
  }
});

test('a directory without a model gets a file to read, which goes again', async () => {
  const file = await probeFileIn(root.path);
  assert.equal(statSync(file.path).size, file.bytes);
  await file.release();
  assert.equal(existsSync(file.path), false);
  await assert.rejects(probeFileIn(join(root.path, 'missing')), {
    line: /missing: no such directory/,
  });
});
