/** The second half of the feed-forward block: sums over groups of neurons, however they are cut. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byteLength, type NeuronDType, neuronDTypes } from '../../src/dtype.ts';
import { neuronGroup, scratchBytes } from '../../src/kernels/weight-kernels.ts';
import { type Bundles, putBundles } from './bundles.ts';
import { assertClose, Bench, bitsOf, builds, Random } from './support.ts';

/** neurons, cols, positions, number of the first neuron */
const shapes = [
  [1, 1, 1, 0],
  [1, 8, 2, 63],
  [2, 5, 1, 64],
  [3, 17, 4, 62],
  [4, 16, 1, 7],
  [19, 40, 1, 100],
  [64, 9, 2, 0],
  [65, 33, 3, 63],
  [70, 24, 5, 1],
  [128, 20, 1, 128],
  [150, 65, 9, 0],
  [131, 192, 3, 40],
  [200, 37, 1, 0],
  [333, 12, 2, 125],
] as const;
const densities = [0, 0.03, 0.5, 1];

/** One call's worth of neurons with their activations, and the sums that are there before. */
interface Case extends Bundles {
  readonly count: number;
  readonly cols: number;
  readonly positions: number;
  readonly first: number;
  /** Elements between positions in `acts`. */
  readonly stride: number;
  readonly acts: number;
  readonly actValues: readonly number[];
  /** (positions, cols), as `sumsBefore` */
  readonly before: readonly number[];
  /** Of the open group, part of which lies before `first`. */
  readonly sumsBefore: readonly number[];
  readonly scratch: number;
}

function makeCase(
  bench: Bench,
  dtype: NeuronDType,
  [count, cols, positions, first]: (typeof shapes)[number],
  density: number,
  random: Random,
): Case {
  const bundles = putBundles(bench, dtype, count, cols, random);
  const stride = count + 1;
  const actValues = Array.from({ length: stride * positions }, () =>
    random.below(1000) < 1000 * density ? Math.fround(random.unit()) : 0,
  );
  const floats = () => Array.from({ length: cols * positions }, () => Math.fround(random.unit()));
  const acts = bench.putFloats(actValues);
  const scratch = bench.allocate(scratchBytes(cols));
  const before = floats();
  const sumsBefore = first % neuronGroup === 0 ? before.map(() => 0) : floats();
  return {
    ...bundles,
    count,
    cols,
    positions,
    first,
    stride,
    acts,
    actValues,
    before,
    sumsBefore,
    scratch,
  };
}

/** What y and the sum of the open group are afterwards, and the sizes of what was added up. */
function reference({ down, count, cols, first, stride, actValues, ...rest }: Case, p: number) {
  const complete = Math.floor((first + count) / neuronGroup) * neuronGroup - first;
  const column = (from: readonly number[], c: number) => from[p * cols + c] ?? 0;
  const result = { y: [] as number[], sums: [] as number[], sizes: [] as number[] };
  for (let c = 0; c < cols; c++) {
    let [y, sums] = [column(rest.before, c), column(rest.sumsBefore, c)];
    let size = Math.abs(y) + Math.abs(sums);
    if (complete >= 0) [y, sums] = [y + sums, 0];
    down.forEach((row, i) => {
      const product = row[c]! * actValues[p * stride + i]!;
      if (i < complete) y += product;
      else sums += product;
      size += Math.abs(product);
    });
    result.y.push(y);
    result.sums.push(sums);
    result.sizes.push(size);
  }
  return result;
}

/** A call that may be a part of the whole. */
interface Part {
  readonly i?: number;
  readonly n?: number;
  readonly columns?: readonly [number, number];
  readonly rows?: readonly [number, number];
  readonly scratch?: number;
}

const kinds = builds.flatMap((build) => neuronDTypes.map((dtype) => [build, dtype] as const));

for (const [build, dtype] of kinds) {
  const bench = await Bench.create(8 << 20, build);
  const { fold, copyRows } = bench.kernels;
  const { ffnDown, ffnSums } = bench.kernels.byDType[dtype];

  const down = (c: Case, y: number, sums: number, part: Part = {}) => {
    const { i = 0, n = c.count - i, columns = [0, c.cols], rows = [0, c.positions] } = part;
    const row = 4 * rows[0] * c.cols;
    ffnDown(
      y + row,
      sums + row,
      c.acts + 4 * (rows[0] * c.stride + i),
      c.ptrs + 4 * i,
      c.downOffset,
      c.first + i,
      n,
      columns[0],
      columns[1],
      rows[1] - rows[0],
      c.cols,
      c.stride,
      part.scratch ?? 0,
    );
  };
  const bits = (address: number, n: number) => bitsOf(bench.floats(address, n));
  /** What `name` says for every shape and every share of active neurons. */
  const forAll = (seed: number, check: (c: Case, random: Random, what: string) => void) => {
    const random = new Random(seed);
    for (const shape of shapes) {
      for (const density of densities) {
        bench.reset();
        const what = `${shape.join(' x ')}, density ${density}`;
        check(makeCase(bench, dtype, shape, density, random), random, what);
      }
    }
  };

  test(`ffn down ${dtype} (${build}) agrees with double precision`, () => {
    forAll(4, (c, _random, what) => {
      const { cols, positions, before, sumsBefore, scratch } = c;
      for (const own of [0, scratch]) {
        const y = bench.putFloats(before);
        const sums = bench.putFloats(sumsBefore);
        down(c, y, sums, { scratch: own });
        for (let p = 0; p < positions; p++) {
          const wanted = reference(c, p);
          const close = (from: number, values: readonly number[], name: string) =>
            assertClose(
              bench.floats(from + 4 * p * cols, cols),
              values,
              (column) => 1e-5 * wanted.sizes[column]! + 1e-33,
              `${name} of ${what}, position ${p}`,
            );
          close(y, wanted.y, 'y');
          close(sums, wanted.sums, 'sums');
        }
      }
    });
  });

  test(`ffn down ${dtype} (${build}) is the same cut by columns, list and positions`, () => {
    forAll(14, (c, random, what) => {
      const { count, cols, positions, before, sumsBefore, scratch } = c;
      const [y, parts] = [bench.putFloats(before), bench.putFloats(before)];
      const [sums, partSums] = [bench.putFloats(sumsBefore), bench.putFloats(sumsBefore)];
      down(c, y, sums, { scratch: random.below(2) * scratch });
      // By columns, as threads cut it, and by pieces of the list, as they come from flash.
      for (let start = 0; start < cols; ) {
        const end = Math.min(cols, start + 1 + random.below(30));
        for (let i = 0; i < count; ) {
          const n = Math.min(count - i, 1 + random.below(random.below(2) === 0 ? 11 : 150));
          const split = random.below(positions + 1);
          for (const rows of [[0, split] as const, [split, positions] as const]) {
            if (rows[0] === rows[1]) continue;
            const own = random.below(2) * scratch;
            down(c, parts, partSums, { i, n, columns: [start, end], rows, scratch: own });
          }
          i += n;
        }
        start = end;
      }
      assert.deepEqual(bits(parts, cols * positions), bits(y, cols * positions), what);
      assert.deepEqual(bits(partSums, cols * positions), bits(sums, cols * positions), what);
    });
  });

  test(`ffn sums ${dtype} (${build}), folded, are ffn down to the bit`, () => {
    forAll(15, (c, random, what) => {
      const { count, cols, first, before, sumsBefore, stride } = c;
      const y = bench.putFloats(before);
      const sums = bench.putFloats(sumsBefore);
      down(c, y, sums, { scratch: c.scratch });
      const rows = c.positions * (2 + Math.ceil(count / neuronGroup));
      const area = bench.allocate(rows * 4 * cols);
      const guard = bench.putWords([0x12345678]);
      for (let p = 0; p < c.positions; ) {
        const positions = Math.min(c.positions - p, 1 + random.below(c.positions));
        const [at, values] = [p * cols, positions * cols];
        const folded = bench.putFloats(before.slice(at, at + values));
        bench.floats(area, rows * cols).fill(Number.NaN); // of earlier layers
        bench.floats(area, values).set(sumsBefore.slice(at, at + values));
        for (let i = 0; i < count; ) {
          const n = Math.min(count - i, 1 + random.below(random.below(2) === 0 ? 20 : 200));
          const begin = Math.floor((first + i) / neuronGroup);
          const end = Math.ceil((first + i + n) / neuronGroup);
          const complete = Math.floor((first + i + n) / neuronGroup) - begin;
          const acts = c.acts + 4 * (p * stride + i);
          // By groups, as threads cut it, in whatever order they come to them.
          const middle = begin + random.below(end - begin + 1);
          for (const [from, to] of [
            [middle, end],
            [begin, middle],
          ] as const) {
            const list = [c.ptrs + 4 * i, c.downOffset, first + i, n] as const;
            const own = random.below(2) * c.scratch;
            ffnSums(area, acts, ...list, cols, positions, stride, from, to, own);
          }
          fold(folded, area, complete, values, values);
          // The open group is carried on; where there is none, the next group begins at 0 by itself.
          if (complete > 0 && begin + complete < end) {
            copyRows(area, area + 4 * complete * values, 1, 4 * values, 0, 0);
          }
          i += n;
        }
        assert.deepEqual(bits(folded, values), bits(y + 4 * at, values), what);
        if ((first + count) % neuronGroup !== 0) {
          assert.deepEqual(bits(area, values), bits(sums + 4 * at, values), what);
        }
        p += positions;
      }
      assert.equal(bench.words(guard, 1)[0], 0x12345678);
    });
  });

  test(`ffn down ${dtype} (${build}) does not read the columns of neurons that are not active`, () => {
    const random = new Random(5);
    for (const [positions, withScratch] of [
      [1, 0],
      [2, 0],
      [4, 1],
      [7, 1],
    ] as const) {
      for (const nowhere of [false, true]) {
        bench.reset();
        const [count, cols] = [150, 20];
        const active = [13, 64, 149];
        const { ptrs, downOffset, down: columns } = putBundles(bench, dtype, count, cols, random);
        const acts = bench.putFloats(
          Array.from({ length: count * positions }, (_, i) => (active.includes(i % count) ? 1 : 0)),
        );
        // A read of any other column would spoil y with NaNs (0 times NaN is NaN), or trap.
        const addresses = bench.words(ptrs, count);
        addresses.forEach((address, i) => {
          if (active.includes(i)) return;
          bench.bytes(address + downOffset, byteLength(dtype, cols)).fill(0xff);
          if (nowhere) addresses[i] = 0xf0000000;
        });
        const wanted = Array.from({ length: cols }, (_, c) =>
          active.reduce((sum, i) => sum + columns[i]![c]!, 0),
        );
        const sizes = wanted.map((_, c) =>
          active.reduce((sum, i) => sum + Math.abs(columns[i]![c]!), 0),
        );
        const check = (at: number, what: string) =>
          assertClose(bench.floats(at, cols), wanted, (c) => 1e-6 * sizes[c]! + 1e-33, what);
        const zeros = Array.from({ length: cols * positions }, () => 0);
        const [y, sums] = [bench.putFloats(zeros), bench.putFloats(zeros)];
        const own = withScratch * bench.allocate(scratchBytes(cols));
        ffnDown(y, sums, acts, ptrs, downOffset, 0, count, 0, cols, positions, cols, count, own);
        bench.kernels.add(y, sums, cols * positions);
        for (let p = 0; p < positions; p++) check(y + 4 * p * cols, `position ${p}`);
        const groups = Math.ceil(count / neuronGroup);
        const area = bench.allocate(groups * 4 * cols);
        const folded = bench.putFloats(zeros);
        ffnSums(area, acts, ptrs, downOffset, 0, count, cols, 1, count, 0, groups);
        fold(folded, area, groups, cols, cols);
        check(folded, 'sums');
      }
    }
  });
}
