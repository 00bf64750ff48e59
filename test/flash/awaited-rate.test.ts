/** The rate at which a device reads while somebody waits, told from when reads are seen to end. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AwaitedRate } from '../../src/flash/awaited-rate.ts';

const read = (since: number, bytes = 100) => ({ bytes, since });

test('reads that are waited for count from their beginning', () => {
  const rate = new AwaitedRate();
  rate.waits(0);
  rate.ended(read(0), 10, false);
  rate.ended(read(0), 20, true);
  rate.goesOn();
  assert.deepEqual([rate.bytes, rate.ms], [200, 20]);
});

test('a read that ended while kernels computed is no end of a stretch, and counts within one', () => {
  const rate = new AwaitedRate();
  const reads = [read(0), read(1.5), read(2)] as const;
  // All three were begun, two of them together; the first two ended meanwhile, and are seen when the wait begins at 30.
  rate.waits(30);
  rate.ended(reads[0], 30.05, false);
  rate.ended(reads[1], 30.1, false);
  assert.equal(rate.ms, 0);
  rate.ended(reads[2], 40, true);
  // The stretch begins with the two: what began before may have had the device to itself, and it idled.
  assert.deepEqual([rate.bytes, rate.ms], [200, 38.5]);
  rate.goesOn();
});

test('what is seen between two waits belongs to the stretch of a read that was under way all the time', () => {
  const rate = new AwaitedRate();
  rate.waits(0);
  rate.ended(read(0), 10, false);
  rate.goesOn();
  // Computing from 10 to 30; one ended meanwhile, another is still under way since 5.
  rate.ended(read(4), 30, false);
  rate.waits(30);
  rate.ended(read(5), 35, true);
  assert.deepEqual([rate.bytes, rate.ms], [300, 35]);
});

test('time in which nothing was certainly read counts in no stretch', () => {
  const rate = new AwaitedRate();
  rate.waits(0);
  rate.ended(read(0), 10, true);
  rate.goesOn();
  // Ended at some time, seen at 90: neither its bytes nor the time count.
  rate.ended(read(10), 90, true);
  rate.waits(95);
  rate.ended(read(95), 100, true);
  assert.deepEqual([rate.bytes, rate.ms], [200, 15]);
});

test('what ends at the very beginning of a wait may have ended before', () => {
  const rate = new AwaitedRate();
  rate.waits(50);
  rate.ended(read(0), 50.1, true);
  assert.deepEqual([rate.bytes, rate.ms], [0, 0]);
});

test('a device of a known rate is found to have it, a full queue and a computing engine beside it', () => {
  const rate = new AwaitedRate();
  const perRead = 5;
  let begun = 0;
  const queue: ReturnType<typeof read>[] = [];
  let device = 0;
  const fill = (now: number) => {
    while (queue.length < 8) {
      queue.push(read(now));
      begun++;
    }
  };
  fill(0);
  // One read after the other, while the engine computes for 3 after each and waits for the rest.
  for (let now = 0; begun < 1000; ) {
    device = Math.max(device, queue[0]?.since ?? 0) + perRead;
    const flight = queue.shift() as ReturnType<typeof read>;
    rate.waits(now);
    now = Math.max(now, device);
    rate.ended(flight, now, false);
    rate.goesOn();
    fill(now);
    now += 3;
  }
  const found = rate.bytes / rate.ms;
  assert.ok(Math.abs(found - 100 / perRead) < 0.5, `${found}`);
});
