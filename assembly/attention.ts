/**
 * Causal attention over a KV cache in pages.
 *
 *     keys, values   page g, row i:   | kv head 0, headDim | kv head 1 | ...     kvStride elements
 *     pages          u32, of a sequence:   page of its positions 0 to 15 | of 16 to 31 | ...
 *     rows           u32, row p:   address of its sequence's pages | its position
 *     q, out         row p:   | head 0, headDim | head 1 | ...                   qStride, outStride
 *
 * Query head h reads kv head h / group. A row attends to the positions of its sequence up to its own,
 * or to the last `window` of these. Consecutive pages in the cache are read as one:
 * a sequence that is alone costs as much as it would without pages. Every value is added in the order of
 * positions, so the result does not depend on where pages lie. Keys and values are f32 (Unpacked: the
 * kernels wrote them) or f16, which halves what is read per token.
 */

import { accumulate } from './columns';
import { dot4 } from './dot';
import { dot1x4 } from './dot-positions';
import { Codec } from './dtype';
import { HEADS_TOGETHER, PAGE_POSITIONS } from './exports/shared-constants';
import { scale as scaleBy, softCap as softCapOf } from './math';
import { V } from './vector';

/** The fewest heads with the same keys and values that read them together: fewer are faster one by one. */
const FEWEST: i32 = 3;
/** Of PAGE_POSITIONS, a power of two. */
const PAGE_SHIFT: i32 = ctz(PAGE_POSITIONS);
/** Values that are mixed for some columns before the next columns: they stay in L1. */
const VALUES: i32 = 32;

/**
 * out[p, h] = softmax(cap(scale q[p, h] . k) + biasScale bias[h]) v for heads [headStart, headEnd);
 * `scores` is scratch of HEADS_TOGETHER times `length` f32, with `length` above any row's position. `bias`
 * has what a head adds to the score of each position, f32 (heads, biasStride), or is 0 for none. With
 * softCap c above 0,
 * cap(s) = c tanh(s / c). A head's sink, f32 (heads) or 0 for none, takes part in the softmax as the score
 * of a position whose value is 0. Strides in elements.
 */
export function attention<T extends Codec>(
  out: usize,
  q: usize,
  rows: usize,
  keys: usize,
  values: usize,
  scores: usize,
  headStart: i32,
  headEnd: i32,
  group: i32,
  headDim: i32,
  kvStride: usize,
  qStride: usize,
  outStride: usize,
  length: i32,
  positions: i32,
  scale: f32,
  window: i32,
  bias: usize,
  biasStride: usize,
  biasScale: f32,
  softCap: f32,
  sinks: usize,
): void {
  const bytes = changetype<T>(0).bytes;
  const rowBytes = kvStride * bytes;
  const headBytes = (<usize>headDim) << 2;
  const scoreBytes = (<usize>length) << 2;
  let h = headStart;
  while (h < headEnd) {
    const kvOffset = <usize>(h / group) * <usize>headDim * bytes;
    const same = min(min(HEADS_TOGETHER, headEnd - h), group - (h % group));
    const heads = same < FEWEST ? 1 : same;
    const k = keys + kvOffset;
    const v = values + kvOffset;
    for (let p = 0; p < positions; p++) {
      const pages = <usize>load<u32>(rows + ((<usize>p) << 3));
      const end = load<i32>(rows + ((<usize>p) << 3), 4) + 1;
      const n = min(window, end);
      const first = end - n;
      const qp = q + ((<usize>p * qStride) << 2) + <usize>h * headBytes;
      const op = out + ((<usize>p * outStride) << 2) + <usize>h * headBytes;
      for (let j = first; j < end; ) {
        const run = runFrom(pages, j, end);
        const to = scores + ((<usize>(j - first)) << 2);
        const kj = k + rowAt(pages, j) * rowBytes;
        if (heads > 1) {
          scoreTogether<T>(to, scoreBytes, qp, headBytes, kj, run, heads, headDim, rowBytes, scale);
        } else {
          score<T>(to, qp, kj, run, headDim, rowBytes, scale);
        }
        j += run;
      }
      memory.fill(op, 0, <usize>heads * headBytes);
      let sum0: f64 = 1;
      let sum1: f64 = 1;
      let sum2: f64 = 1;
      let sum3: f64 = 1;
      for (let i = 0; i < heads; i++) {
        const row = scores + <usize>i * scoreBytes;
        if (softCap > 0) softCapOf(row, n, softCap);
        if (bias != 0) {
          const from = bias + ((<usize>(h + i) * biasStride + <usize>first) << 2);
          addScaled(row, from, n, biasScale);
        }
        sum3 = sum2;
        sum2 = sum1;
        sum1 = sum0;
        sum0 = softmax(row, n, sinks == 0 ? 0 : sinks + ((<usize>(h + i)) << 2));
      }
      for (let j = first; j < end; ) {
        const run = runFrom(pages, j, end);
        const from = scores + ((<usize>(j - first)) << 2);
        const vj = v + rowAt(pages, j) * rowBytes;
        if (heads > 1) {
          mixTogether<T>(op, headBytes, from, scoreBytes, vj, run, heads, headDim, rowBytes);
        } else {
          mix<T>(op, from, vj, run, headDim, rowBytes);
        }
        j += run;
      }
      for (let i = heads - 1; i >= 0; i--) {
        scaleBy(op + <usize>i * headBytes, headDim, <f32>(1 / sum0));
        sum0 = sum1;
        sum1 = sum2;
        sum2 = sum3;
      }
    }
    h += heads;
  }
}

/** The row of the cache that holds a sequence's position. */
function rowAt(pages: usize, position: i32): usize {
  const page = load<u32>(pages + ((<usize>(position >> PAGE_SHIFT)) << 2));
  return ((<usize>page) << PAGE_SHIFT) + <usize>(position & (PAGE_POSITIONS - 1));
}

/** How many positions from `position` on, before `end`, are contiguous in the cache. */
function runFrom(pages: usize, position: i32, end: i32): i32 {
  let at = pages + ((<usize>(position >> PAGE_SHIFT)) << 2);
  let next = (position | (PAGE_POSITIONS - 1)) + 1;
  while (next < end && load<u32>(at, 4) == load<u32>(at) + 1) {
    at += 4;
    next += PAGE_POSITIONS;
  }
  return min(next, end) - position;
}

/** scores[j] = scale q . k_j for j in [0, n). */
function score<T extends Codec>(
  scores: usize,
  q: usize,
  k: usize,
  n: i32,
  headDim: i32,
  rowBytes: usize,
  scale: f32,
): void {
  const s = f32x4.splat(scale);
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const k0 = k + <usize>j * rowBytes;
    const k1 = k0 + rowBytes;
    const k2 = k1 + rowBytes;
    const dots = dot4<T>(k0, k1, k2, k2 + rowBytes, q, headDim);
    v128.store(scores + ((<usize>j) << 2), f32x4.mul(dots, s));
  }
  for (; j < n; j++) {
    const kj = k + <usize>j * rowBytes;
    const dots = dot4<T>(kj, kj, kj, kj, q, headDim);
    v128.store_lane<f32>(scores + ((<usize>j) << 2), f32x4.mul(dots, s), 0);
  }
}

/** Row i of `scores`: those of head i, for up to four heads, scoreBytes and headBytes apart. */
function scoreTogether<T extends Codec>(
  scores: usize,
  scoreBytes: usize,
  q: usize,
  headBytes: usize,
  k: usize,
  n: i32,
  heads: i32,
  headDim: i32,
  rowBytes: usize,
  scale: f32,
): void {
  const s = f32x4.splat(scale);
  const q3 = q + <usize>(heads - 1) * headBytes;
  for (let j = 0; j < n; j++) {
    const dots = dot1x4<T>(k, q, q + headBytes, q + 2 * headBytes, q3, headDim);
    const scaled = f32x4.mul(dots, s);
    const at = scores + ((<usize>j) << 2);
    v128.store_lane<f32>(at, scaled, 0);
    v128.store_lane<f32>(at + scoreBytes, scaled, 1);
    v128.store_lane<f32>(at + 2 * scoreBytes, scaled, 2);
    v128.store_lane<f32>(at + <usize>(heads - 1) * scoreBytes, scaled, 3);
    k += rowBytes;
  }
}

/** scores[j] += scale bias[j] for j in [0, n). */
function addScaled(scores: usize, bias: usize, n: i32, scale: f32): void {
  const s = f32x4.splat(scale);
  for (let j = 0; j < n; j += 4) {
    const at = (<usize>j) << 2;
    const left = n - j;
    const added = f32x4.mul(V.loadLanes(bias + at, left), s);
    V.storeLanes(scores + at, f32x4.add(V.loadLanes(scores + at, left), added), min(4, left));
  }
}

/**
 * x[j] = e^(x[j] - max x) for j in [0, n), n > 0; returns their sum. The f32 at `sink`, unless that is 0,
 * counts as one more.
 */
function softmax(x: usize, n: i32, sink: usize): f64 {
  const bytes = (<usize>n) << 2;
  const whole = bytes & ~15;
  let top4 = v128.load_splat<f32>(x);
  for (let c: usize = 0; c < whole; c += 16) top4 = f32x4.max(top4, v128.load(x + c));
  for (let c = whole; c < bytes; c += 4) top4 = f32x4.max(top4, v128.load_splat<f32>(x + c));
  top4 = f32x4.max(top4, i32x4.shuffle(top4, top4, 2, 3, 0, 1));
  let top = max(f32x4.extract_lane(top4, 0), f32x4.extract_lane(top4, 1));
  if (sink != 0) top = max(top, load<f32>(sink));
  const shift = f32x4.splat(top);
  let sum = f64x2.splat(0);
  for (let c: usize = 0; c < whole; c += 16) {
    const e = V.exp(f32x4.sub(v128.load(x + c), shift));
    v128.store(x + c, e);
    sum = f64x2.add(sum, f64x2.promote_low_f32x4(e));
    sum = f64x2.add(sum, f64x2.promote_low_f32x4(i64x2.shuffle(e, e, 1, 1)));
  }
  let total = f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
  for (let c = whole; c < bytes; c += 4) {
    const e = V.exp(f32x4.sub(v128.load_splat<f32>(x + c), shift));
    v128.store_lane<f32>(x + c, e, 0);
    total += <f64>f32x4.extract_lane(e, 0);
  }
  if (sink != 0) {
    const e = V.exp(f32x4.sub(v128.load_splat<f32>(sink), shift));
    total += <f64>f32x4.extract_lane(e, 0);
  }
  return total;
}

/** out += sum over j of weights[j] v_j. */
function mix<T extends Codec>(
  out: usize,
  weights: usize,
  v: usize,
  n: i32,
  headDim: i32,
  rowBytes: usize,
): void {
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const w = weights + ((<usize>j) << 2);
    const v0 = v + <usize>j * rowBytes;
    const v1 = v0 + rowBytes;
    const v2 = v1 + rowBytes;
    accumulate<T>(
      out,
      false,
      4,
      v0,
      v1,
      v2,
      v2 + rowBytes,
      load<f32>(w),
      load<f32>(w, 4),
      load<f32>(w, 8),
      load<f32>(w, 12),
      headDim,
    );
  }
  for (; j < n; j++) {
    const vj = v + <usize>j * rowBytes;
    const w = load<f32>(weights + ((<usize>j) << 2));
    accumulate<T>(out, false, 1, vj, vj, vj, vj, w, w, w, w, headDim);
  }
}

/** The same for up to four heads, whose rows of `out` and `weights` are headBytes and weightBytes apart. */
function mixTogether<T extends Codec>(
  out: usize,
  headBytes: usize,
  weights: usize,
  weightBytes: usize,
  v: usize,
  n: i32,
  heads: i32,
  headDim: i32,
  rowBytes: usize,
): void {
  const t = changetype<T>(0);
  const last = <usize>(heads - 1);
  for (let left = n; left > 0; left -= VALUES) {
    const values = min(left, VALUES);
    let columns = headDim;
    let o = out;
    let vc = v;
    for (; columns >= 8; columns -= 8) {
      const o1 = o + headBytes;
      const o2 = o1 + headBytes;
      const o3 = o + last * headBytes;
      let l0 = v128.load(o);
      let h0 = v128.load(o, 16);
      let l1 = v128.load(o1);
      let h1 = v128.load(o1, 16);
      let l2 = v128.load(o2);
      let h2 = v128.load(o2, 16);
      let l3 = v128.load(o3);
      let h3 = v128.load(o3, 16);
      let vj = vc;
      let w = weights;
      for (let j = values; j > 0; j--) {
        const a = t.first(vj);
        const b = t.second(vj, a);
        const quick = t.quick(a, a, a, a);
        const low = quick ? t.quickLow(a, b) : t.low(a, b);
        const high = quick ? t.quickHigh(a, b) : t.high(a, b);
        let s = v128.load_splat<f32>(w);
        l0 = V.madd(l0, s, low);
        h0 = V.madd(h0, s, high);
        s = v128.load_splat<f32>(w + weightBytes);
        l1 = V.madd(l1, s, low);
        h1 = V.madd(h1, s, high);
        s = v128.load_splat<f32>(w + 2 * weightBytes);
        l2 = V.madd(l2, s, low);
        h2 = V.madd(h2, s, high);
        s = v128.load_splat<f32>(w + last * weightBytes);
        l3 = V.madd(l3, s, low);
        h3 = V.madd(h3, s, high);
        vj += rowBytes;
        w += 4;
      }
      v128.store(o, l0);
      v128.store(o, h0, 16);
      v128.store(o1, l1);
      v128.store(o1, h1, 16);
      v128.store(o2, l2);
      v128.store(o2, h2, 16);
      v128.store(o3, l3);
      v128.store(o3, h3, 16);
      o += 32;
      vc += 8 * t.bytes;
    }
    for (; columns > 0; columns--) {
      for (let i: usize = 0; i <= last; i++) {
        const oi = o + i * headBytes;
        let sum = load<f32>(oi);
        let vj = vc;
        let w = weights + i * weightBytes;
        for (let j = values; j > 0; j--) {
          sum = V.madd1(sum, load<f32>(w), t.one(vj));
          vj += rowBytes;
          w += 4;
        }
        store<f32>(oi, sum);
      }
      o += 4;
      vc += t.bytes;
    }
    v += <usize>values * rowBytes;
    weights += (<usize>values) << 2;
  }
}
