/** A selection says what it was given, and belongs to whoever asked for it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BitSelection } from '../../src/engine/selection.ts';
import { AllUnits } from '../../src/engine/selectors/all-units.ts';
import { bitWords } from '../../src/plan/list-layout.ts';
import { Dice } from '../support/random.ts';

test('bits, units of any row and units of each row agree, in room that is used again', () => {
  const dice = new Dice(31);
  const selection = new BitSelection({ units: 200, rows: 6 });
  for (let round = 0; round < 300; round++) {
    const count = dice.between(1, 200);
    const rows = dice.between(1, 6);
    const words = bitWords(count);
    if (dice.chance(0.2)) {
      new AllUnits(count).select({ layer: 0, x: 0, residual: 0, positions: rows }, selection);
      assert.equal(selection.units.length, count);
      for (let row = 0; row < rows; row++) {
        assert.deepEqual([...selection.unitsOf(row)], [...new Array(count).keys()]);
      }
      continue;
    }
    const wanted = Array.from({ length: rows }, () =>
      [...new Array(count).keys()].filter(() => dice.chance(0.3)),
    );
    const bits = new Uint32Array(rows * words);
    wanted.forEach((ids, row) => {
      for (const id of ids) {
        const at = row * words + (id >> 5);
        bits[at] = ((bits[at] ?? 0) | (1 << (id & 31))) >>> 0;
      }
    });
    const union = [...new Set(wanted.flat())].sort((a, b) => a - b);
    const source = Uint32Array.from(union);
    selection.set(bits, source, count, rows);
    // What it was made from may be written over.
    const before = bits.slice();
    bits.fill(7);
    source.fill(7);
    assert.deepEqual(selection.bits, before);
    assert.deepEqual([...selection.units], union);
    wanted.forEach((ids, row) => {
      assert.deepEqual([...selection.unitsOf(row)], ids);
      for (let id = 0; id < count; id++) assert.equal(selection.has(row, id), ids.includes(id));
    });
  }
});

test('more units or rows than there is room for are refused', () => {
  const selection = new BitSelection({ units: 40, rows: 2 });
  assert.throws(() => selection.setAll(41, 1), /no room/);
  assert.throws(() => selection.setAll(40, 3), /no room/);
});
