/**
 * The feed-forward block over bundles: resident slots, streamed pieces and sparse lists alike are
 * lists of addresses.
 *
 *     bundle = neuron i              ptrs[i]                       ptrs[i] + downOffset
 *                                    | up row, cols x T ......... | down column, cols x T ...... |
 *
 *     acts[p, i] = act(dot(up_i, x_p) + bias_i)        ffnUp, or ffnGatedUp
 *     y[p, c]   += sum_i acts[p, i] down_i[c]          ffnDown
 */
import { Columns } from './columns';
import { activation, add, multiply } from './math';
import { Dots } from './matmul';
import { V } from './vector';

/** acts[p, i] = act(dot(up_i, x_p) + bias[i]); bias is f32, or 0 for none. Strides in elements. */
export function ffnUp<D extends Dots>(
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
  changetype<D>(0).dots(acts, x, 0, ptrs, count, cols, positions, xStride, actStride, scratch);
  for (let p = 0; p < positions; p++) {
    const row = acts + ((<usize>p * actStride) << 2);
    if (bias != 0) add(row, bias, count);
    activation(row, count, code);
  }
}

/**
 * For gated networks, whose bundles are | gate row | up row | down column |, the up row `upOffset`
 * bytes into the bundle: acts[p, i] = act(dot(gate_i, x_p)) dot(up_i, x_p). `gates` is scratch of
 * the shape of acts.
 */
export function ffnGatedUp<D extends Dots>(
  acts: usize,
  gates: usize,
  x: usize,
  ptrs: usize,
  upOffset: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
  scratch: usize,
): void {
  const d = changetype<D>(0);
  d.dots(gates, x, 0, ptrs, count, cols, positions, xStride, actStride, scratch);
  d.dots(acts, x, upOffset, ptrs, count, cols, positions, xStride, actStride, scratch);
  for (let p = 0; p < positions; p++) {
    const offset = (<usize>p * actStride) << 2;
    activation(gates + offset, count, code);
    multiply(acts + offset, gates + offset, count);
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
 * where active columns are unpacked once for all positions; for quantised formats in blocks, as
 * ceil of (colEnd - colStart) / 32, and one more.
 */
export function ffnDown<C extends Columns, U extends Columns>(
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
  const c = changetype<C>(0);
  const columns = colEnd - colStart;
  const first = downOffset + c.offset(colStart);
  const skip = c.skip(colStart);
  const unpacked = scratch != 0 && positions > 2;
  y += (<usize>colStart) << 2;
  if (positions == 1) {
    down1<C>(y, acts, ptrs, first, count, skip, columns);
    return;
  }
  for (let i = 0; i < count; i += NEURONS) {
    const n = min(NEURONS, count - i);
    if (unpacked) {
      unpackActive<C>(scratch, acts, ptrs, first, n, skip, columns, positions, actStride);
    }
    for (let p = 0; p < positions; p++) {
      const yp = y + ((<usize>p * yStride) << 2);
      const ap = acts + ((<usize>p * actStride) << 2);
      if (unpacked) down1<U>(yp, ap, scratch, 0, n, skip, columns);
      else down1<C>(yp, ap, ptrs, first, n, skip, columns);
    }
    acts += (<usize>n) << 2;
    ptrs += (<usize>n) << 2;
  }
}

/** Fills `scratch` with those of the n columns that are active for any position. */
function unpackActive<C extends Columns>(
  scratch: usize,
  acts: usize,
  ptrs: usize,
  offset: usize,
  n: i32,
  skip: i32,
  columns: i32,
  positions: i32,
  actStride: usize,
): void {
  const c = changetype<C>(0);
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
      c.unpack(column, <usize>load<u32>(ptrs + ((<usize>k) << 2)) + offset, skip, columns);
    }
    column += c.unpackedBytes(skip, columns);
  }
}

/** One position. Active neurons are taken four at a time, so that y is passed over a quarter as often. */
function down1<C extends Columns>(
  y: usize,
  acts: usize,
  ptrs: usize,
  offset: usize,
  count: i32,
  skip: i32,
  columns: i32,
): void {
  const c = changetype<C>(0);
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
        c.add4(y, d0, d1, d2, d3, a0, a1, a2, a3, skip, columns);
        waiting = 0;
      }
    }
  }
  if (waiting > 2) c.add1(y, d1, a1, skip, columns);
  if (waiting > 1) c.add1(y, d2, a2, skip, columns);
  if (waiting > 0) c.add1(y, d3, a3, skip, columns);
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
