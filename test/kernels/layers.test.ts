import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callAttention } from '../../src/kernels/attention.ts';
import { attentionScratch } from '../../src/kernels/kernels.ts';
import { assertClose, Bench, bitsOf, builds, fromHalf, Random, toHalf } from './support.ts';

/** heads, group, headDim, start, positions */
/** The numbers below n in a random order. */
function shuffled(n: number, random: Random): number[] {
  const items = Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [items[i], items[j]] = [items[j] ?? 0, items[i] ?? 0];
  }
  return items;
}

const attentionShapes = [
  [1, 1, 1, 0, 1],
  [2, 1, 4, 0, 5],
  [3, 1, 6, 3, 1],
  [4, 2, 8, 7, 9],
  [4, 4, 17, 30, 6],
  [2, 1, 64, 100, 1],
  [2, 1, 80, 61, 13],
  // Groups of which some heads are computed together, the rest together or one by one.
  [14, 7, 24, 40, 2],
  [6, 3, 9, 33, 4],
  [5, 5, 16, 70, 1],
] as const;

for (const build of builds) {
  const bench = await Bench.create(8 << 20, build);
  const { kernels } = bench;

  test(`layer norm and RMS norm agree with double precision (${build})`, () => {
    const random = new Random(7);
    for (const n of [1, 2, 3, 4, 5, 64, 127, 768]) {
      for (const positions of [1, 3]) {
        for (const affine of [false, true]) {
          bench.reset();
          const eps = 1e-5;
          const stride = n + 2;
          // A mean far from zero: a one-pass variance would lose everything.
          const xs = Array.from({ length: stride * positions }, () =>
            Math.fround(1000 + random.unit()),
          );
          const weights = Array.from({ length: n }, () => Math.fround(random.unit()));
          const biases = Array.from({ length: n }, () => Math.fround(random.unit()));
          const x = bench.putFloats(xs);
          const weight = affine ? bench.putFloats(weights) : 0;
          const bias = affine ? bench.putFloats(biases) : 0;
          const y = bench.allocate(4 * n * positions);
          const rms = bench.allocate(4 * n * positions);
          kernels.layerNorm(y, x, weight, bias, n, positions, stride, n, eps);
          kernels.rmsNorm(rms, x, weight, n, positions, stride, n, eps);
          for (let p = 0; p < positions; p++) {
            const row = xs.slice(p * stride, p * stride + n);
            const mean = row.reduce((a, b) => a + b, 0) / n;
            const deviation = Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / n + eps);
            const size = Math.sqrt(row.reduce((a, b) => a + b * b, 0) / n + eps);
            const wanted = row.map(
              (v, c) =>
                ((v - mean) / deviation) * (affine ? weights[c]! : 1) + (affine ? biases[c]! : 0),
            );
            const wantedRms = row.map((v, c) => (v / size) * (affine ? weights[c]! : 1));
            assertClose(bench.floats(y + 4 * p * n, n), wanted, () => 1e-6, `layer norm ${n}`);
            assertClose(bench.floats(rms + 4 * p * n, n), wantedRms, () => 1e-6, `rms norm ${n}`);
          }
          // In place.
          kernels.layerNorm(x, x, weight, bias, n, positions, stride, stride, eps);
          for (let p = 0; p < positions; p++) {
            assert.deepEqual(
              bitsOf(bench.floats(x + 4 * p * stride, n)),
              bitsOf(bench.floats(y + 4 * p * n, n)),
            );
          }
        }
      }
    }
  });

  test(`a soft cap is the hyperbolic tangent, near 0 as far from it (${build})`, () => {
    bench.reset();
    const cap = 3;
    const xs = [0, -0, 1e-30, -1e-5, 0.01, 1.8, 1.9, -2.5, 8, -40, 1e6, -Infinity, NaN].map(
      Math.fround,
    );
    const x = bench.putFloats(xs);
    const guard = bench.putFloats([7]);
    kernels.softCap(x, xs.length, cap);
    const capped = bench.floats(x, xs.length);
    for (const [i, value] of xs.entries()) {
      const wanted = value === -Infinity ? value : cap * Math.tanh(value / cap);
      const error = Math.abs(capped[i]! - wanted);
      assert.ok(
        Object.is(capped[i], wanted) || error <= 5e-7 * Math.abs(wanted),
        `${value}: ${capped[i]} instead of ${wanted}`,
      );
    }
    assert.equal(bench.floats(guard, 1)[0], 7);
  });

  for (const cache of ['f32', 'f16'] as const) {
    test(`attention over ${cache} agrees with double precision, and with itself when split (${build})`, () => {
      const random = new Random(8);
      for (const [heads, group, headDim, start, positions] of attentionShapes) {
        for (const [steepness, window, biased, cap, sunk] of [
          [1, start + positions, false, 0, false],
          [200, start + positions, false, 0, false],
          [1, 1 + random.below(start + positions), true, 0, false],
          [1, start + positions, false, 0, true],
          [20, 1 + random.below(start + positions), false, 3, true],
        ] as const) {
          bench.reset();
          const kvHeads = heads / group;
          const [kvStride, qStride, outStride] = [
            kvHeads * headDim + 1,
            heads * headDim + 2,
            heads * headDim + 3,
          ];
          const length = start + positions;
          const uniform = (n: number) =>
            Array.from({ length: n }, () => Math.fround(random.unit()));
          const cached = (n: number) =>
            cache === 'f32' ? uniform(n) : uniform(n).map((value) => fromHalf(toHalf(value)));
          // Pages of 16 positions in any order, some of them neighbours; others lie between.
          const count = Math.ceil(length / 16);
          const pages = shuffled(count + 2, random).slice(0, count);
          if (random.below(2) === 0) pages.sort((a, b) => a - b);
          const table = bench.putWords(pages);
          const rows = bench.putWords(
            Array.from({ length: positions }, (_, p) => [table, start + p]).flat(),
          );
          const putCache = (values: readonly number[]) => {
            const paged = new Array<number>((count + 2) * 16 * kvStride).fill(7);
            values.forEach((value, i) => {
              const position = Math.floor(i / kvStride);
              const row = (pages[position >> 4] ?? 0) * 16 + (position % 16);
              paged[row * kvStride + (i % kvStride)] = value;
            });
            return putPaged(paged);
          };
          const putPaged = (values: readonly number[]) => {
            if (cache === 'f32') return bench.putFloats(values);
            const address = bench.allocate(2 * values.length, 2);
            bench.halves(address, values.length).set(values.map(toHalf));
            return address;
          };
          const [ks, vs, qs] = [
            cached(length * kvStride),
            cached(length * kvStride),
            uniform(positions * qStride),
          ];
          const scale = Math.fround(steepness / Math.sqrt(headDim));
          const k = putCache(ks);
          const v = putCache(vs);
          const q = bench.putFloats(qs);
          const biases = uniform(heads * length);
          const bias = biased ? bench.putFloats(biases) : 0;
          const sinkScores = uniform(heads).map((value) => 4 * value);
          const sinks = sunk ? bench.putFloats(sinkScores) : 0;
          const scores = bench.allocate(4 * attentionScratch(length));
          const guard = bench.putWords([0x12345678]);
          const out = bench.allocate(4 * positions * outStride);
          const parts = bench.allocate(4 * positions * outStride);
          const run = (to: number, h0: number, h1: number, p0: number, p1: number) =>
            callAttention(kernels[cache === 'f32' ? 'attention' : 'attentionF16'], {
              out: to + 4 * p0 * outStride,
              q: q + 4 * p0 * qStride,
              rows: rows + 8 * p0,
              keys: k,
              values: v,
              scores,
              headStart: h0,
              headEnd: h1,
              group,
              headDim,
              kvStride,
              qStride,
              outStride,
              length: start + p1,
              positions: p1 - p0,
              scale,
              window,
              bias,
              biasStride: length,
              biasScale: 0.5,
              softCap: cap,
              sinks,
            });
          run(out, 0, heads, 0, positions);
          assert.equal(bench.words(guard, 1)[0], 0x12345678);
          for (let p = 0; p < positions; p++) {
            for (let h = 0; h < heads; h++) {
              const kv = Math.floor(h / group) * headDim;
              const logits = Array.from({ length: start + p + 1 }, (_, j) => {
                let dot = 0;
                for (let d = 0; d < headDim; d++) {
                  dot += qs[p * qStride + h * headDim + d]! * ks[j * kvStride + kv + d]!;
                }
                if (j <= start + p - window) return Number.NEGATIVE_INFINITY;
                const score = cap > 0 ? cap * Math.tanh((dot * scale) / cap) : dot * scale;
                return score + (biased ? 0.5 * biases[h * length + j]! : 0);
              });
              const sink = sunk ? sinkScores[h]! : Number.NEGATIVE_INFINITY;
              const top = Math.max(...logits, sink);
              const weights = logits.map((logit) => Math.exp(logit - top));
              const total = weights.reduce((a, b) => a + b, Math.exp(sink - top));
              const wanted = Array.from({ length: headDim }, (_, d) =>
                weights.reduce((sum, w, j) => sum + (w / total) * vs[j * kvStride + kv + d]!, 0),
              );
              assertClose(
                bench.floats(out + 4 * (p * outStride + h * headDim), headDim),
                wanted,
                () => 2e-6 * Math.sqrt(steepness),
                `${heads} heads of ${headDim}, position ${start + p}, head ${h}`,
              );
            }
          }
          for (let h = 0; h < heads; h++) {
            const split = random.below(positions + 1);
            if (split > 0) run(parts, h, h + 1, 0, split);
            if (split < positions) run(parts, h, h + 1, split, positions);
          }
          for (let p = 0; p < positions; p++) {
            assert.deepEqual(
              bitsOf(bench.floats(parts + 4 * p * outStride, heads * headDim)),
              bitsOf(bench.floats(out + 4 * p * outStride, heads * headDim)),
            );
          }
        }
      }
    });
  }

  test(`rotary embedding agrees with double precision (${build})`, () => {
    const random = new Random(15);
    for (const [heads, headDim, pairs, positions] of [
      [1, 2, 1, 1],
      [3, 6, 3, 2],
      [2, 10, 5, 3],
      [2, 16, 4, 4],
      [4, 80, 40, 2],
      [2, 32, 7, 5],
    ] as const) {
      for (const style of ['rotaryHalves', 'rotaryInterleaved'] as const) {
        bench.reset();
        const stride = heads * headDim + 3;
        const xs = Array.from({ length: stride * positions }, () => Math.fround(random.unit()));
        const angles = Array.from({ length: pairs * positions }, () => 100 * random.unit());
        const x = bench.putFloats(xs);
        const cos = bench.putFloats(angles.map(Math.cos));
        const sin = bench.putFloats(angles.map(Math.sin));
        kernels[style](x, cos, sin, heads, headDim, pairs, positions, stride);
        const wanted = [...xs];
        for (let p = 0; p < positions; p++) {
          for (let h = 0; h < heads; h++) {
            for (let i = 0; i < pairs; i++) {
              const head = p * stride + h * headDim;
              const [a, b] =
                style === 'rotaryHalves'
                  ? [head + i, head + i + pairs]
                  : [head + 2 * i, head + 2 * i + 1];
              const [c, s] = [Math.cos(angles[p * pairs + i]!), Math.sin(angles[p * pairs + i]!)];
              wanted[a] = xs[a]! * c - xs[b]! * s;
              wanted[b] = xs[b]! * c + xs[a]! * s;
            }
          }
        }
        assertClose(bench.floats(x, xs.length), wanted, () => 3e-7, `${style} ${headDim}`);
      }
    }
  });

  test(`add, multiply and scale work on any number of elements and touch no others (${build})`, () => {
    const random = new Random(9);
    for (let n = 0; n < 20; n++) {
      bench.reset();
      const xs = Array.from({ length: n }, () => Math.fround(random.unit()));
      const ys = Array.from({ length: n }, () => Math.fround(random.unit()));
      const x = bench.putFloats(xs);
      const y = bench.putFloats([...ys, 7]);
      kernels.add(y, x, n);
      const added = ys.map((value, i) => Math.fround(value + xs[i]!));
      assert.deepEqual([...bench.floats(y, n + 1)], [...added, 7]);
      kernels.multiply(y, x, n);
      const product = added.map((value, i) => Math.fround(value * xs[i]!));
      assert.deepEqual([...bench.floats(y, n + 1)], [...product, 7]);
      kernels.scale(y, n, 3);
      const scaled = product.map((value) => Math.fround(value * 3));
      assert.deepEqual([...bench.floats(y, n + 1)], [...scaled, 7]);
    }
  });

  test(`clamp cuts both ways, keeps NaN, and touches no others (${build})`, () => {
    const random = new Random(19);
    const special = [65504, -65504, 65505, -65520, 1e38, Number.POSITIVE_INFINITY, -0, 2 ** -149];
    for (let n = 0; n < 20; n++) {
      bench.reset();
      const xs = Array.from({ length: n }, (_, i) =>
        random.below(5) === 0
          ? Number.NaN
          : Math.fround(special[(i + n) % special.length]! * (random.below(2) * 2 - 1)),
      );
      const x = bench.putFloats([...xs, 1e9]);
      kernels.clamp(x, n, 65504);
      const wanted = xs.map((value) => Math.max(-65504, Math.min(65504, value)));
      assert.deepEqual([...bench.floats(x, n + 1)], [...wanted, 1e9]);
    }
  });

  test(`clampedGate is what gpt-oss makes of up and gate values (${build})`, () => {
    const random = new Random(23);
    const [limit, steepness] = [7, 1.702];
    for (let n = 0; n < 20; n++) {
      bench.reset();
      const values = () => Array.from({ length: n }, () => Math.fround(12 * random.unit()));
      const [ups, gates] = [values(), values()];
      const [up, gate] = [bench.putFloats([...ups, 7]), bench.putFloats(gates)];
      kernels.clampedGate(up, gate, n, limit, steepness);
      const wanted = ups.map((value, i) => {
        const g = Math.min(gates[i]!, limit);
        const clamped = Math.max(-limit, Math.min(limit, value));
        return ((clamped + 1) * g) / (1 + Math.exp(-steepness * g));
      });
      const size = (i: number) => 3e-7 * Math.max(1, Math.abs(wanted[i] ?? 0));
      assertClose(bench.floats(up, n), wanted, size, `clampedGate of ${n}`);
      assert.equal(bench.floats(up, n + 1)[n], 7);
    }
  });

  test(`fold adds rows one after the other (${build})`, () => {
    const random = new Random(17);
    for (const rows of [0, 1, 2, 17]) {
      for (const n of [0, 1, 3, 4, 5, 64, 67]) {
        bench.reset();
        const stride = n + random.below(3);
        // Of sizes so different that another order would show in the last bits.
        const xs = Array.from({ length: rows * stride }, () =>
          Math.fround(random.unit() * 10 ** random.below(5)),
        );
        const ys = Array.from({ length: n }, () => Math.fround(random.unit()));
        const x = bench.putFloats(xs);
        const y = bench.putFloats([...ys, 7]);
        kernels.fold(y, x, rows, n, stride);
        const wanted = ys.map((start, c) => {
          let sum = start;
          for (let r = 0; r < rows; r++) sum = Math.fround(sum + xs[r * stride + c]!);
          return sum;
        });
        assert.deepEqual([...bench.floats(y, n + 1)], [...wanted, 7], `${rows} rows of ${n}`);
        assert.deepEqual([...bench.floats(x, xs.length)], xs);
      }
    }
  });

  test(`what is not 0 is counted, of either sign and however small (${build})`, () => {
    const random = new Random(18);
    const kinds = [0, -0, 1, -1, 2 ** -149, Number.NaN, Number.NEGATIVE_INFINITY];
    for (let n = 0; n < 70; n++) {
      bench.reset();
      const values = Array.from({ length: n }, () => kinds[random.below(kinds.length)]!);
      // Neighbours on both sides are not 0, and do not count.
      const x = 4 + bench.putFloats([1, ...values, 1, 1, 1, 1]);
      assert.equal(kernels.countActive(x, n), values.filter((value) => value !== 0).length);
      bench.floats(x, n).fill(-0);
      assert.equal(kernels.countActive(x, n), 0);
      bench.floats(x, n).fill(0.5);
      assert.equal(kernels.countActive(x, n), n);
    }
  });
}
