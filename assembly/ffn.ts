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
import { dots, unpack } from './dot';
import { Codec, Unpacked } from './dtype';
import { activation, add } from './math';
import { V } from './vector';

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
  scratch: usize,
): void {
  dots<T>(acts, x, 0, ptrs, count, cols, positions, xStride, actStride, scratch);
  for (let p = 0; p < positions; p++) {
    const row = acts + ((<usize>p * actStride) << 2);
    if (bias != 0) add(row, bias, count);
    activation(row, count, code);
  }
}

/** Neurons that are handled for all positions before the next ones: their columns stay in L2. */
const NEURONS: i32 = 16;

/**
 * y[p, c] += sum over i of acts[p, i] down_i[c], for c in [colStart, colEnd). Each y is added to
 * strictly in the order of i, neurons whose activation is 0 left out, so neither the splitting of
 * the list nor that of the columns makes a difference. Strides in elements. `scratch` is 0 or
 *
 *     | NEURONS addresses, u32 | NEURONS columns, colEnd - colStart f32 each |
 *
 * where active columns are unpacked once for all positions.
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
  scratch: usize,
): void {
  const t = changetype<T>(0);
  const columns = colEnd - colStart;
  const first = downOffset + <usize>colStart * t.bytes;
  const unpacked = scratch != 0 && positions > 2;
  y += (<usize>colStart) << 2;
  if (positions == 1) {
    down1<T>(y, acts, ptrs, first, count, columns);
    return;
  }
  for (let i = 0; i < count; i += NEURONS) {
    const n = min(NEURONS, count - i);
    if (unpacked) unpackActive<T>(scratch, acts, ptrs, first, n, columns, positions, actStride);
    for (let p = 0; p < positions; p++) {
      const yp = y + ((<usize>p * yStride) << 2);
      const ap = acts + ((<usize>p * actStride) << 2);
      if (unpacked) down1<Unpacked>(yp, ap, scratch, 0, n, columns);
      else down1<T>(yp, ap, ptrs, first, n, columns);
    }
    acts += (<usize>n) << 2;
    ptrs += (<usize>n) << 2;
  }
}

/** Fills `scratch` with those of the n columns that are active for any position. */
function unpackActive<T extends Codec>(
  scratch: usize,
  acts: usize,
  ptrs: usize,
  offset: usize,
  n: i32,
  columns: i32,
  positions: i32,
  actStride: usize,
): void {
  let active = 0;
  for (let p = 0; p < positions; p++) {
    const row = acts + ((<usize>p * actStride) << 2);
    for (let k = 0; k < n; k += 4) {
      active |= activeOfFour(row + ((<usize>k) << 2), n - k) << k;
    }
  }
  let column = scratch + ((<usize>NEURONS) << 2);
  for (let k = 0; k < n; k++) {
    store<u32>(scratch + ((<usize>k) << 2), <u32>column);
    if (active & (1 << k)) {
      unpack<T>(column, <usize>load<u32>(ptrs + ((<usize>k) << 2)) + offset, columns);
    }
    column += (<usize>columns) << 2;
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
    let low = v128.load(y);
    let high = v128.load(y, 16);
    if (t.quick(p0, p1, p2, p3)) {
      low = V.madd(V.madd(low, s0, t.quickLow(p0, q0)), s1, t.quickLow(p1, q1));
      low = V.madd(V.madd(low, s2, t.quickLow(p2, q2)), s3, t.quickLow(p3, q3));
      high = V.madd(V.madd(high, s0, t.quickHigh(p0, q0)), s1, t.quickHigh(p1, q1));
      high = V.madd(V.madd(high, s2, t.quickHigh(p2, q2)), s3, t.quickHigh(p3, q3));
    } else {
      low = V.madd(V.madd(low, s0, t.low(p0, q0)), s1, t.low(p1, q1));
      low = V.madd(V.madd(low, s2, t.low(p2, q2)), s3, t.low(p3, q3));
      high = V.madd(V.madd(high, s0, t.high(p0, q0)), s1, t.high(p1, q1));
      high = V.madd(V.madd(high, s2, t.high(p2, q2)), s3, t.high(p3, q3));
    }
    v128.store(y, low);
    v128.store(y, high, 16);
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
    v128.store(y, V.madd(v128.load(y), s, t.low(p, q)));
    v128.store(y, V.madd(v128.load(y, 16), s, t.high(p, q)), 16);
    d += 8 * t.bytes;
    y += 32;
  }
  for (let left = columns & 7; left > 0; left--) {
    store<f32>(y, load<f32>(y) + a * t.one(d));
    d += t.bytes;
    y += 4;
  }
}
