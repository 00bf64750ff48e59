/** How much is proposed, for devices and drafts as they may be: by a clock that is told, not measured. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PassTimes } from '../../../src/engine/pass-times.ts';
import { simulate, type World } from './clocked.ts';

/** Tokens per millisecond beside a pass for each. */
function gain(world: World, wanted: number, seed?: number): number {
  const { tokens, ms } = simulate(world, wanted, seed === undefined ? {} : { seed });
  const { passMs, sequences = 1 } = world;
  return tokens / (ms / passMs(sequences, 0));
}

const streamed = (rows: number) => 300 + 10 * rows;
const inMemory = (rows: number) => 50 + 50 * rows;
const never = () => 0;
const mostly = () => 0.9;

test('where passes cost about the same, most is made of what is right', () => {
  const best = (1 - 0.9 ** 9) / (1 - 0.9) / (streamed(9) / streamed(1));
  for (const seed of [1, 2, 3]) {
    const found = gain({ passMs: streamed, right: mostly }, 300, seed);
    assert.ok(found > 0.8 * best, `${found} of ${best} times`);
  }
  // A draft whose tokens cost a tenth of a pass is worth it still.
  assert.ok(gain({ passMs: streamed, draftMs: 30, right: mostly }, 300) > 2.2);
});

test('where nothing is ever right, at most 3% are lost, and a little at the beginning', () => {
  for (const draftMs of [0, 30, 100]) {
    for (const passMs of [streamed, inMemory]) {
      for (const seed of [1, 2, 3]) {
        const found = gain({ passMs, draftMs, right: never }, 400, seed);
        assert.ok(found > 0.96, `${found} with ${draftMs} ms for a token`);
      }
    }
  }
});

test('the same for drafts that are right too seldom for what they cost', () => {
  for (const [chance, draftMs] of [
    [0.3, 60],
    [0.5, 100],
    [0.6, 80],
  ] as const) {
    const found = gain({ passMs: inMemory, draftMs, right: () => chance }, 400);
    assert.ok(found > 0.96, `${found} at ${chance}`);
  }
});

test('a text that changes is followed in both directions', () => {
  const turns = (pass: number) => (Math.floor(pass / 60) % 2 === 0 ? 0.95 : 0);
  const { late } = simulate({ passMs: streamed, right: turns }, 1200);
  assert.ok(late > 0.5 && late < 6, `${late} proposed per pass`);
  assert.ok(gain({ passMs: inMemory, right: turns }, 1200) > 1.05);
});

test('fewer are proposed where other sequences fill the pass anyway', () => {
  const world = { passMs: (rows: number) => 200 + 25 * rows, right: () => 0.6 };
  const [alone, among] = [simulate(world, 600), simulate({ ...world, sequences: 12 }, 600)];
  assert.ok(alone.late > 1.5 && among.late < alone.late / 1.5, `${alone.late}, ${among.late}`);
});

test('a pass that was disturbed does not decide for those to come', () => {
  const passTimes = new PassTimes();
  for (let i = 0; i < 20; i++) passTimes.add(1 + (i % 5), 1, 100 + 10 * (i % 5));
  const before = passTimes.expect(4);
  assert.ok(Math.abs(passTimes.expect(9) - 180) < 15, `${passTimes.expect(9)} for 9 rows`);
  passTimes.add(4, 1, 5000);
  assert.ok(passTimes.expect(4) < 1.3 * before, `${before} -> ${passTimes.expect(4)}`);
});
