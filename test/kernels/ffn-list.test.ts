/** The FFN over lists of wanted neurons: bits from scores, lists from bits, sums by groups of ids. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type NeuronDType, neuronDTypes } from '../../src/dtype.ts';
import { scratchBytes } from '../../src/kernels/weight-kernels.ts';
import { putBundles } from './bundles.ts';
import { assertClose, Bench, bitsOf, builds, Random } from './support.ts';

/** An ascending list of ids below `neurons`, each with this probability. */
function randomList(random: Random, neurons: number, share: number): number[] {
  return Array.from({ length: neurons }, (_, id) => id).filter(
    () => random.below(1000) < 1000 * share,
  );
}

interface ListCase {
  readonly dtype: NeuronDType;
  readonly cols: number;
  readonly group: number;
  readonly positions: number;
  readonly list: readonly number[];
  /** What neuron `id` comes to at a position; 0 where it does not want it. */
  readonly activation: (id: number, position: number) => number;
  /** Address of a neuron's bundle. */
  readonly address: (id: number) => number;
  readonly downOffset: number;
  readonly scratch: number;
}

/** y += the list's contributions, in calls that end at the entries `cuts`. */
function run(bench: Bench, c: ListCase, before: readonly number[], cuts: readonly number[]) {
  const { positions, cols, group, list } = c;
  const { byDType, fold } = bench.kernels;
  const { ffnListSums, ffnListDown } = byDType[c.dtype];
  const y = bench.putFloats(before);
  const sums = bench.allocate(4 * cols * Math.max(positions, list.length + 1));
  bench.floats(sums, cols * positions).fill(0);
  let from = 0;
  let continued: 0 | 1 = 0;
  for (const to of [...cuts, list.length]) {
    const ids = list.slice(from, to);
    if (ids.length === 0) continue;
    const groupOf = (id: number | undefined) => Math.floor((id ?? 0) / group);
    const open = to < list.length && groupOf(list[to]) === groupOf(ids.at(-1));
    const ends = ids.flatMap((id, i) =>
      i > 0 && groupOf(id) !== groupOf(ids[i - 1]) ? [i] : ([] as number[]),
    );
    if (!open) ends.push(ids.length);
    const acts = bench.putFloats(
      Array.from({ length: positions }, (_, p) => ids.map((id) => c.activation(id, p))).flat(),
    );
    const ptrs = bench.putWords(ids.map(c.address));
    const bounds = bench.putWords(ends);
    const n = ids.length;
    if (positions === 1) {
      const rows = ends.length + (open ? 1 : 0);
      const down = [ptrs, c.downOffset, bounds, ends.length, n, cols, continued] as const;
      const half = Math.floor(rows / 2);
      ffnListSums(sums, acts, ...down, half, rows);
      ffnListSums(sums, acts, ...down, 0, half);
      fold(y, sums, ends.length, cols, cols);
      if (open)
        bench.floats(sums, cols).set(bench.floats(sums + 4 * cols * ends.length, cols).slice());
    } else {
      const middle = Math.floor(cols / 2 / 32) * 32;
      for (const [start, end] of [
        [middle, cols],
        [0, middle],
      ] as const) {
        ffnListDown(
          y,
          sums,
          acts,
          ptrs,
          c.downOffset,
          bounds,
          ends.length,
          n,
          start,
          end,
          positions,
          cols,
          n,
          c.scratch,
        );
      }
    }
    continued = open ? 1 : 0;
    from = to;
  }
  return bench.floats(y, positions * cols).slice();
}

for (const build of builds) {
  test(`lists of neurons, ${build}`, async () => {
    const bench = await Bench.create(1 << 23, build);
    const random = new Random(77);
    for (const dtype of neuronDTypes) {
      for (const [neurons, cols, positions, group, share] of [
        [1, 7, 1, 64, 1],
        [70, 33, 2, 64, 0.5],
        [300, 64, 1, 64, 0.2],
        [300, 96, 5, 64, 0.1],
        [200, 65, 3, 16, 1],
        [333, 40, 9, 100, 0.03],
        [90, 32, 4, 64, 0],
      ] as const) {
        bench.reset();
        const bundles = putBundles(bench, dtype, neurons, cols, random);
        const pointers = bench.words(bundles.ptrs, neurons).slice();
        const wants = Array.from(
          { length: positions },
          () => new Set(randomList(random, neurons, share)),
        );
        const values = Array.from({ length: neurons * positions }, () =>
          random.below(3) === 0 ? 0 : Math.fround(random.unit()),
        );
        const before = Array.from({ length: cols * positions }, () => Math.fround(random.unit()));
        const list = Array.from({ length: neurons }, (_, id) => id).filter((id) =>
          wants.some((set) => set.has(id)),
        );
        const c: ListCase = {
          dtype,
          cols,
          group,
          positions,
          list,
          activation: (id, p) => (wants[p]?.has(id) ? (values[p * neurons + id] ?? 0) : 0),
          address: (id) => pointers[id] ?? 0,
          downOffset: bundles.downOffset,
          scratch: bench.allocate(scratchBytes(cols)),
        };
        const whole = run(bench, c, before, []);
        const what = `${dtype} ${neurons} x ${cols}, ${positions} positions`;
        for (let p = 0; p < positions; p++) {
          const sizes = new Float64Array(cols);
          const expected = Array.from({ length: cols }, (_, j) => {
            let sum = before[p * cols + j] ?? 0;
            sizes[j] = Math.abs(sum);
            for (const id of list) {
              const term = c.activation(id, p) * (bundles.down[id]?.[j] ?? 0);
              sum += term;
              sizes[j] = (sizes[j] ?? 0) + Math.abs(term);
            }
            return sum;
          });
          const actual = whole.subarray(p * cols, (p + 1) * cols);
          assertClose(actual, expected, (j) => 1e-5 * (sizes[j] ?? 0) + 1e-30, what);
          // Alone, with a list of its own, cut elsewhere, a position comes to the same bits.
          const own = {
            ...c,
            positions: 1,
            list: list.filter((id) => wants[p]?.has(id)),
            activation: (id: number) => c.activation(id, p),
          };
          const cuts = [own.list.length >> 2, own.list.length >> 1];
          const alone = run(bench, own, before.slice(p * cols, (p + 1) * cols), cuts);
          assert.deepEqual(bitsOf(alone), bitsOf(actual), what);
        }
        const cut = run(
          bench,
          c,
          before,
          [1, list.length >> 1, list.length - 2].filter((n) => n > 0),
        );
        assert.deepEqual(bitsOf(cut), bitsOf(whole), what);
      }
    }
  });

  test(`from scores to lists, ${build}`, async () => {
    const bench = await Bench.create(1 << 20, build);
    const { positiveBits, unionIds, wantedActs } = bench.kernels;
    const random = new Random(3);
    for (const [neurons, positions] of [
      [1, 1],
      [31, 2],
      [32, 1],
      [33, 3],
      [100, 7],
      [257, 4],
    ] as const) {
      bench.reset();
      const words = Math.ceil(neurons / 32);
      const special = [0, -0, Number.NaN, -1e-40, 1e-40, Number.POSITIVE_INFINITY];
      const scores = Array.from({ length: neurons * positions }, () =>
        random.below(9) === 0 ? (special[random.below(special.length)] ?? 0) : random.unit() - 0.6,
      );
      const bits = bench.allocate(4 * words * positions);
      // In two calls, as blocks of neurons come.
      const middle = Math.min(64, Math.floor(neurons / 64) * 32);
      for (const [first, end] of [
        [0, middle],
        [middle, neurons],
      ] as const) {
        const rows = Array.from({ length: positions }, (_, p) =>
          scores.slice(p * neurons + first, p * neurons + end),
        );
        const n = end - first;
        if (n > 0) positiveBits(bits, bench.putFloats(rows.flat()), first, n, positions, n, words);
      }
      const wanted = (p: number, id: number) => Math.fround(scores[p * neurons + id] ?? 0) > 0;
      const expected = Array.from({ length: neurons }, (_, id) => id).filter((id) =>
        Array.from({ length: positions }, (_, p) => p).some((p) => wanted(p, id)),
      );
      const ids = bench.allocate(4 * neurons);
      const count = unionIds(ids, bits, words, positions, words);
      assert.deepEqual([...bench.words(ids, count)], expected);

      const values = Array.from({ length: positions * neurons }, () => Math.fround(random.unit()));
      const src = bench.putFloats(values);
      const places = expected.map((_, i) => expected.length - 1 - i);
      const order = bench.putWords(places);
      const dst = bench.allocate(4 * positions * neurons);
      wantedActs(dst, src, order, ids, bits, count, positions, neurons, neurons, words);
      for (let p = 0; p < positions; p++) {
        assert.deepEqual(
          [...bench.floats(dst + 4 * p * neurons, count)],
          expected.map((id, i) => (wanted(p, id) ? values[p * neurons + (places[i] ?? 0)] : 0)),
        );
      }
    }
  });
}
