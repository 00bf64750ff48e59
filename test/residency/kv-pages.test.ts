/** Pages of the KV cache: random sequences that grow, fork, shrink and close, against plain lists. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ModelSpec } from '../../src/models/spec.ts';
import { createMemory } from '../../src/pages.ts';
import { type KvLayout, layoutKv, pagePositions } from '../../src/plan/kv-layout.ts';
import { KvPages, type PageList } from '../../src/residency/kv-pages.ts';
import { Dice } from '../support/random.ts';

const spec: Pick<ModelSpec, 'attention' | 'layers'> = {
  layers: 1,
  attention: { heads: 1, kvHeads: 1, headDim: 4, scale: 1, qkNorm: 'none', windows: [] },
};

function layout(sequences: number, positions: number, context: number): KvLayout {
  const sizes = { context, sequences, positions, dtype: 'f32', chunk: 4, layers: 1 } as const;
  return layoutKv(spec, sizes, 4096);
}

test('a sequence reads what it wrote, whoever shares its pages', () => {
  const dice = new Dice(31);
  for (let round = 0; round < 60; round++) {
    const sequences = dice.between(1, 6);
    const context = dice.between(1, 100);
    const positions = dice.between(context, sequences * context);
    const plan = layout(sequences, positions, context);
    const pool = new KvPages(createMemory(1 << 16), plan);
    /** What the cache's rows hold, instead of keys and values. */
    const rows = new Map<number, number>();
    const open: { pages: PageList; values: number[] }[] = [];
    let [written, refused] = [0, 0];
    for (let step = 0; step < 200; step++) {
      const one = open.length === 0 ? undefined : dice.pick(open);
      const action = dice.between(0, 5);
      if (one === undefined || action === 0) {
        if (open.length < sequences) open.push({ pages: pool.open(), values: [] });
        else assert.throws(() => pool.open(), /planned sequences? (is|are) open/);
      } else if (action === 1 && open.length < sequences) {
        open.push({ pages: one.pages.fork(), values: [...one.values] });
      } else if (action === 2) {
        one.values.length = dice.between(0, one.values.length);
        one.pages.truncate(one.values.length);
      } else if (action === 3 && dice.chance(0.3)) {
        one.pages.close();
        one.pages.close();
        open.splice(open.indexOf(one), 1);
      } else {
        const end = dice.between(one.values.length, context);
        const sum = open.reduce((n, { values }) => n + values.length, 0);
        try {
          const copy = one.pages.extend(one.values.length, end);
          for (let i = 0; copy !== null && i < copy.rows; i++) {
            const value = rows.get(copy.from * pagePositions + i);
            if (value !== undefined) rows.set(copy.to * pagePositions + i, value);
          }
          for (let position = one.values.length; position < end; position++) {
            rows.set(one.pages.rowOf(position), ++written);
            one.values.push(written);
          }
        } catch (error) {
          refused++;
          assert.match((error as Error).message, /the KV cache is full/);
          assert.ok(sum + end - one.values.length > positions, 'refused while there was room');
        }
      }
      for (const { pages, values } of open) {
        assert.deepEqual(
          values.map((_, position) => rows.get(pages.rowOf(position))),
          values,
        );
      }
    }
    for (const { pages } of open) pages.close();
    assert.equal(pool.free, plan.pages, 'pages were lost');
    if (positions === sequences * context) assert.equal(refused, 0);
  }
});

test('a sequence alone has its rows one after the other', () => {
  const plan = layout(1, 75, 75);
  const pool = new KvPages(createMemory(1 << 16), plan);
  const pages = pool.open();
  for (let round = 0; round < 3; round++) {
    pages.extend(0, 40);
    pages.extend(40, 75);
    for (let position = 0; position < 75; position++) assert.equal(pages.rowOf(position), position);
    pages.truncate(round);
    pages.truncate(0);
  }
});
