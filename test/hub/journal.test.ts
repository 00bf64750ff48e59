/** What a download has: ranges of bytes, and the journal that outlives the process. */

import assert from 'node:assert/strict';
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Journal, journalFile } from '../../src/hub/journal.ts';
import { Ranges } from '../../src/hub/ranges.ts';
import { Dice } from '../support/random.ts';
import { temporaryRoot } from '../support/temporary.ts';

const root = temporaryRoot();

describe('ranges', () => {
  it('are what a list of single bytes would be', () => {
    const dice = new Dice(3);
    for (let round = 0; round < 200; round++) {
      const ranges = new Ranges();
      const bytes = new Array<boolean>(40).fill(false);
      for (let i = 0; i < 8; i++) {
        const from = dice.between(0, 39);
        const to = dice.between(from, 40);
        ranges.add(from, to);
        bytes.fill(true, from, to);
      }
      assert.equal(ranges.bytes, bytes.filter(Boolean).length);
      const [from, to] = [dice.between(0, 20), dice.between(20, 40)];
      const missing = new Set<number>();
      let last = -1;
      for (const hole of ranges.missing(from, to)) {
        assert.ok(hole.from > last, 'in order, and not side by side');
        last = hole.to;
        for (let at = hole.from; at < hole.to; at++) missing.add(at);
      }
      for (let at = 0; at < 40; at++) {
        assert.equal(missing.has(at), at >= from && at < to && bytes[at] === false);
      }
    }
  });
});

describe('the journal', () => {
  it('is read up to its last whole line, wherever it was cut', async () => {
    const dir = root.directory();
    const path = join(dir, journalFile);
    const journal = await Journal.open(dir);
    await Promise.all([journal.file('a', 100, 'one'), journal.file('b', 50, 'two')]);
    await Promise.all([journal.got('a', 0, 10), journal.got('a', 20, 100), journal.done('b')]);
    await journal.close();
    const whole = readFileSync(path);
    for (let length = 0; length <= whole.length; length += 3) {
      writeFileSync(path, whole.subarray(0, length));
      const again = await Journal.open(dir);
      await again.close();
      const a = again.known.get('a');
      const text = whole.toString('utf8', 0, length);
      const has = (line: string) => text.includes(`${line}\n`);
      assert.equal(a !== undefined, has('["file","a",100,"one"]'));
      const bytes = (has('["got","a",0,10]') ? 10 : 0) + (has('["got","a",20,100]') ? 80 : 0);
      assert.equal(a?.got.bytes ?? 0, bytes);
      assert.equal(again.known.get('b')?.done ?? false, has('["done","b"]'));
      // What is appended then stands on a line of its own.
      assert.ok(/^$|\n$/.test(readFileSync(path, 'utf8')));
    }
    assert.deepEqual(readdirSync(dir), [journalFile]);
  });

  it('believes no line that makes no sense', async () => {
    const dir = root.directory();
    const lines = [
      ['file', 'a', 100, 'x'],
      ['got', 'a', 0, 101],
      ['got', 'a', -5, 7],
      ['got', 'a', '0', 7],
      ['got', 'other', 0, 7],
      ['got', 'a', 90, 80],
      ['file', 'b', 1e300, 'x'],
      ['file', 7, 1, 'x'],
    ];
    for (const line of lines) appendFileSync(join(dir, journalFile), `${JSON.stringify(line)}\n`);
    appendFileSync(join(dir, journalFile), 'null\n{"a":1}\nnot json\n');
    const { known, ...journal } = await Journal.open(dir);
    assert.deepEqual([...known.keys()], ['a']);
    assert.equal(known.get('a')?.got.bytes, 0);
    assert.ok(journal);
  });
});
