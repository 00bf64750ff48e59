/** Matches of a text's last tokens: the longest, the latest of equals, at a cost that does not grow. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PassTimes } from '../../../src/engine/pass-times.ts';
import { LookupDrafter, TextIndex } from '../../../src/engine/speculation/lookup.ts';
import { Dice } from '../../support/random.ts';

/** The same by trying every place, up to the 48th at which the last two tokens are the same. */
function find(ids: readonly number[]): { place: number; length: number } | null {
  const end = ids.length;
  let best: { place: number; length: number } | null = null;
  for (let place = end - 1, looked = 0; place >= 2 && looked < 48; place--) {
    let length = 0;
    while (length < 24 && length < place && ids[place - 1 - length] === ids[end - 1 - length]) {
      length++;
    }
    if (length >= 2) looked++;
    if (length >= 2 && length > (best?.length ?? 0)) best = { place, length };
    if (length === 24) break;
  }
  return best;
}

test('the longest match is found, the latest of equals', () => {
  const dice = new Dice(1);
  let found = 0;
  for (const letters of [3, 6, 20]) {
    const index = new TextIndex();
    const ids: number[] = [];
    // Long enough that the tables grow, and few letters: many places.
    for (let i = 0; i < 700; i++) {
      const copied = i > 50 && dice.chance(0.8) ? ids[i - 40] : undefined;
      ids.push(copied ?? dice.between(0, letters - 1));
      index.extend(ids);
      const match = index.find();
      assert.deepEqual(match, find(ids), `${letters} letters, ${ids.length} tokens`);
      if (match !== null) found++;
    }
  }
  assert.ok(found > 1000);
});

async function proposed(ids: readonly number[], count: number): Promise<number[]> {
  const draft = new LookupDrafter({ passTimes: new PassTimes(), most: count }).begin();
  await draft.prepare(ids.slice(0, 3));
  draft.start(ids);
  const tokens: number[] = [];
  while (tokens.length < count) {
    const next = await draft.next();
    if (next === null) break;
    tokens.push(next.token);
  }
  return tokens;
}

test('what followed the match is proposed; a text that repeats itself goes on', async () => {
  assert.deepEqual(await proposed([1, 2, 3, 4, 5, 9, 2, 3], 3), [4, 5, 9]);
  assert.deepEqual(await proposed([1, 2, 3, 4, 5, 9, 2, 3], 8), [4, 5, 9, 2, 3, 4, 5, 9]);
  assert.deepEqual(await proposed([7, 8, 7, 8, 7, 8], 5), [7, 8, 7, 8, 7]);
  assert.deepEqual(await proposed([1, 2, 3, 4, 5], 3), []);
  // The longer match, not the later one.
  assert.deepEqual(await proposed([5, 1, 2, 3, 6, 1, 9, 2, 3, 7, 5, 1, 2, 3], 1), [6]);
});

test('a token costs as much in a long text as in a short one', () => {
  const dice = new Dice(2);
  const index = new TextIndex();
  const ids: number[] = [];
  const grow = (count: number) => {
    const started = process.cpuUsage();
    for (let i = 0; i < count; i++) {
      // Three letters: every chain is long.
      ids.push(dice.between(0, 2));
      index.extend(ids);
      index.find();
    }
    return process.cpuUsage(started).user;
  };
  grow(2000);
  const short = grow(4000);
  grow(20_000);
  const long = grow(4000);
  assert.ok(long < 4 * short + 20_000, `${short} us for 4,000 tokens, ${long} behind 26,000`);
});
