/**
 * The feed-forward block over bundles: resident slots, streamed pieces and sparse lists alike are
 * lists of addresses.
 *
 *     bundle = neuron i              ptrs[i]                       ptrs[i] + downOffset
 *                                    | up row, cols x T ......... | down column, cols x T ...... |
 *
 *     acts[p, i] = act(dot(up_i, x_p) + bias_i)        ffnUp
 *     y[p, c]   += sum_i acts[p, i] down_i[c]          ffnDown
 */
import { dots } from './dot';
import { Codec } from './dtype';
import { activation, add } from './math';

/** acts[p, i] = act(dot(up_i, x_p) + bias[i]); bias is f32, or 0 for none. Strides in elements. */
export function ffnUp<T extends Codec>(
  acts: usize,
  x: usize,
  ptrs: usize,
  bias: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
): void {
  dots<T>(acts, x, 0, ptrs, count, cols, positions, xStride, actStride);
  for (let p = 0; p < positions; p++) {
    const row = acts + ((<usize>p * actStride) << 2);
    if (bias != 0) add(row, bias, count);
    activation(row, count, code);
  }
}

/** Neurons that are handled for all positions before the next ones: their columns stay in L2. */
const NEURONS: i32 = 64;

/**
 * y[p, c] += sum over i of acts[p, i] down_i[c], for c in [colStart, colEnd). Each y is added to
 * strictly in the order of i, neurons whose activation is 0 left out, so neither the splitting of
 * the list nor that of the columns makes a difference. Strides in elements.
 */
export function ffnDown<T extends Codec>(
  y: usize,
  acts: usize,
  ptrs: usize,
  downOffset: usize,
  count: i32,
  colStart: i32,
  colEnd: i32,
  positions: i32,
  yStride: usize,
  actStride: usize,
): void {
  const columns = colEnd - colStart;
  const first = downOffset + <usize>colStart * changetype<T>(0).bytes;
  y += (<usize>colStart) << 2;
  if (positions == 1) return down1<T>(y, acts, ptrs, first, count, columns);
  for (let i = 0; i < count; i += NEURONS) {
    const n = min(NEURONS, count - i);
    for (let p = 0; p < positions; p++) {
      down1<T>(
        y + ((<usize>p * yStride) << 2),
        acts + ((<usize>p * actStride + <usize>i) << 2),
        ptrs + ((<usize>i) << 2),
        first,
        n,
        columns,
      );
    }
  }
}

/** One position. Active neurons are taken four at a time, so that y is passed over a quarter as often. */
function down1<T extends Codec>(
  y: usize,
  acts: usize,
  ptrs: usize,
  offset: usize,
  count: i32,
  columns: i32,
): void {
  // The active neurons waiting for a group: the last `waiting` of the four.
  let waiting = 0;
  let d0: usize = 0;
  let d1: usize = 0;
  let d2: usize = 0;
  let d3: usize = 0;
  let a0: f32 = 0;
  let a1: f32 = 0;
  let a2: f32 = 0;
  let a3: f32 = 0;
  for (let i = 0; i < count; i += 4) {
    let active = activeOfFour(acts + ((<usize>i) << 2), count - i);
    while (active != 0) {
      const at = (<usize>(i + ctz(active))) << 2;
      active &= active - 1;
      d0 = d1;
      d1 = d2;
      d2 = d3;
      d3 = <usize>load<u32>(ptrs + at) + offset;
      a0 = a1;
      a1 = a2;
      a2 = a3;
      a3 = load<f32>(acts + at);
      if (++waiting == 4) {
        accumulate4<T>(y, d0, d1, d2, d3, a0, a1, a2, a3, columns);
        waiting = 0;
      }
    }
  }
  if (waiting > 2) accumulate1<T>(y, d1, a1, columns);
  if (waiting > 1) accumulate1<T>(y, d2, a2, columns);
  if (waiting > 0) accumulate1<T>(y, d3, a3, columns);
}

/** Bit k: acts[k] is not 0; of the first `left` if there are fewer than four. */
function activeOfFour(acts: usize, left: i32): i32 {
  if (left >= 4) return i32x4.bitmask(f32x4.ne(v128.load(acts), f32x4.splat(0)));
  let mask = 0;
  for (let k = 0; k < left; k++) {
    mask |= i32(load<f32>(acts + ((<usize>k) << 2)) != 0) << k;
  }
  return mask;
}

/** y[0..columns) += a0 d0 + a1 d1 + a2 d2 + a3 d3, added in this order. */
export function accumulate4<T extends Codec>(
  y: usize,
  d0: usize,
  d1: usize,
  d2: usize,
  d3: usize,
  a0: f32,
  a1: f32,
  a2: f32,
  a3: f32,
  columns: i32,
): void {
  const t = changetype<T>(0);
  const s0 = f32x4.splat(a0);
  const s1 = f32x4.splat(a1);
  const s2 = f32x4.splat(a2);
  const s3 = f32x4.splat(a3);
  for (let left = columns >> 3; left > 0; left--) {
    const p0 = t.first(d0);
    const p1 = t.first(d1);
    const p2 = t.first(d2);
    const p3 = t.first(d3);
    const q0 = t.second(d0, p0);
    const q1 = t.second(d1, p1);
    const q2 = t.second(d2, p2);
    const q3 = t.second(d3, p3);
    let sum = f32x4.add(v128.load(y), f32x4.mul(s0, t.low(p0, q0)));
    sum = f32x4.add(sum, f32x4.mul(s1, t.low(p1, q1)));
    sum = f32x4.add(sum, f32x4.mul(s2, t.low(p2, q2)));
    sum = f32x4.add(sum, f32x4.mul(s3, t.low(p3, q3)));
    v128.store(y, sum);
    sum = f32x4.add(v128.load(y, 16), f32x4.mul(s0, t.high(p0, q0)));
    sum = f32x4.add(sum, f32x4.mul(s1, t.high(p1, q1)));
    sum = f32x4.add(sum, f32x4.mul(s2, t.high(p2, q2)));
    sum = f32x4.add(sum, f32x4.mul(s3, t.high(p3, q3)));
    v128.store(y, sum, 16);
    d0 += 8 * t.bytes;
    d1 += 8 * t.bytes;
    d2 += 8 * t.bytes;
    d3 += 8 * t.bytes;
    y += 32;
  }
  for (let left = columns & 7; left > 0; left--) {
    let sum = load<f32>(y) + a0 * t.one(d0);
    sum += a1 * t.one(d1);
    sum += a2 * t.one(d2);
    sum += a3 * t.one(d3);
    store<f32>(y, sum);
    d0 += t.bytes;
    d1 += t.bytes;
    d2 += t.bytes;
    d3 += t.bytes;
    y += 4;
  }
}

/** y[0..columns) += a d. */
export function accumulate1<T extends Codec>(y: usize, d: usize, a: f32, columns: i32): void {
  const t = changetype<T>(0);
  const s = f32x4.splat(a);
  for (let left = columns >> 3; left > 0; left--) {
    const p = t.first(d);
    const q = t.second(d, p);
    v128.store(y, f32x4.add(v128.load(y), f32x4.mul(s, t.low(p, q))));
    v128.store(y, f32x4.add(v128.load(y, 16), f32x4.mul(s, t.high(p, q))), 16);
    d += 8 * t.bytes;
    y += 32;
  }
  for (let left = columns & 7; left > 0; left--) {
    store<f32>(y, load<f32>(y) + a * t.one(d));
    d += t.bytes;
    y += 4;
  }
}
