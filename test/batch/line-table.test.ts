/** The table of lines against a map. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatId, parseId } from '../../src/batch/line-ids.ts';
import { type LineKey, LineTable } from '../../src/batch/line-table.ts';
import { Dice } from '../support/random.ts';

test('a table knows what was added, across its growth', () => {
  const dice = new Dice(3);
  const table = new LineTable();
  const expected = new Map<string, LineKey>();
  // Few different words, so that names collide in one half, in both, and in their slots.
  // Looks like an empty slot.
  const zero: LineKey = { name: [0, 0], check: 5 };
  table.add(zero);
  expected.set('0,0', zero);
  const word = () => dice.between(0, 79) * 2048;
  for (let i = 0; i < 20_000; i++) {
    const key: LineKey = { name: [word(), word()], check: dice.between(0, 2 ** 31) };
    const name = key.name.join();
    assert.equal(table.add(key), !expected.has(name));
    if (!expected.has(name)) expected.set(name, key);
    const slot = table.find(key);
    assert.notEqual(slot, null);
    if (i % 3 === 0) table.setAnswered(slot ?? 0);
  }
  assert.equal(table.size, expected.size);
  for (const key of expected.values()) {
    const slot = table.find(key) ?? -1;
    assert.ok(table.hasContent(slot, key));
    assert.equal(table.meet(slot), true);
    assert.equal(table.meet(slot), false);
  }
  assert.equal(table.find({ name: [1, 2], check: 0 }), null);
});

test('what is answered stays so when the table grows', () => {
  const table = new LineTable();
  const key = (i: number): LineKey => ({ name: [i * 7919, i], check: i });
  for (let i = 0; i < 100_000; i++) {
    table.add(key(i));
    if (i % 2 === 0) table.setAnswered(table.find(key(i)) ?? -1);
  }
  for (let i = 0; i < 100_000; i++) {
    assert.equal(table.isAnswered(table.find(key(i)) ?? -1), i % 2 === 0);
  }
  assert.ok(table.bytes <= 53 * 100_000, `${table.bytes} bytes`);
});

test('an id says its line', () => {
  for (const key of [
    { name: [0, 0xffffffff], check: 0x80000000 },
    { name: [0xdeadbeef, 1], check: 0 },
  ] as const) {
    assert.deepEqual(parseId(formatId(key)), key);
  }
  for (const id of [null, 3, '', 'batch_req_12', `${formatId({ name: [1, 2], check: 3 })}0`]) {
    assert.equal(parseId(id), null);
  }
});
