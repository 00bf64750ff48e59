/**
 * y[p, c] += sum over i of acts[p, i] down_i[c]: the second half of the feed-forward block.
 *
 * A call gets entries [first, first + count) of one long list of neurons. The list is summed in groups of
 * NEURON_GROUP entries: each group starts from 0 and adds its active neurons in the order of the list, and
 * the groups' sums are added to y one after the other. So the result is the same to the bit however the
 * list is split into calls, and whichever thread computes which part:
 *
 *     one position, or a few   each thread takes groups, and stores a sum for each: ffnSums, then `fold`
 *     many                     threads take positions, and go through all groups: ffnDown
 *
 * For a few positions a thread must read whole columns: with 512 bytes of each, two threads took longer
 * than one, as starting a read of a piece costs the memory as much as starting one of a whole column.
 */
import { Columns } from './columns';
import { NEURON_GROUP, UNPACKED_COLUMNS } from './exports/shared-constants';
import { add } from './math';
import { V } from './vector';

/**
 * The sums of groups [groupStart, groupEnd): that of group g for position p is row
 * (g - floor(first / NEURON_GROUP)) positions + p of `sums`, (groups, positions, cols) f32. A group that
 * began in an earlier call is added to its previous sum there. `scratch` as for ffnDown. actStride in
 * elements.
 */
export function ffnSums<C extends Columns, U extends Columns>(
  sums: usize,
  acts: usize,
  ptrs: usize,
  downOffset: usize,
  first: i32,
  count: i32,
  cols: i32,
  positions: i32,
  actStride: usize,
  groupStart: i32,
  groupEnd: i32,
  scratch: usize,
): void {
  const rowBytes = (<usize>cols) << 2;
  const groupBytes = <usize>positions * rowBytes;
  for (let g = groupStart; g < groupEnd; g++) {
    const row = sums + <usize>(g - first / NEURON_GROUP) * groupBytes;
    const start = g * NEURON_GROUP - first;
    const from = max(start, 0);
    const n = min(start + NEURON_GROUP, count) - from;
    const at = (<usize>from) << 2;
    if (positions == 1) {
      down1<C>(row, start >= 0, acts + at, ptrs + at, downOffset, n, 0, cols);
    } else {
      if (start >= 0) memory.fill(row, 0, groupBytes);
      downFew<C, U>(row, acts + at, ptrs + at, downOffset, n, cols, positions, actStride, scratch);
    }
  }
}

/** y_p[0..cols) += the sum of acts_p[i] d_i over i < count, y (positions, cols). */
function downFew<C extends Columns, U extends Columns>(
  y: usize,
  acts: usize,
  ptrs: usize,
  offset: usize,
  count: i32,
  cols: i32,
  positions: i32,
  actStride: usize,
  scratch: usize,
): void {
  const c = changetype<C>(0);
  const rowBytes = (<usize>cols) << 2;
  const unpacked = scratch != 0 && positions > 2;
  for (let i = 0; i < count; ) {
    // Four columns that every position needs, or as many as are unpacked at once.
    if (c.few && i + 4 <= count && allActive(acts, positions, actStride)) {
      const d0 = <usize>load<u32>(ptrs) + offset;
      const d1 = <usize>load<u32>(ptrs, 4) + offset;
      const d2 = <usize>load<u32>(ptrs, 8) + offset;
      const d3 = <usize>load<u32>(ptrs, 12) + offset;
      c.addFew(y, rowBytes, acts, actStride << 2, positions, d0, d1, d2, d3, cols);
      i += 4;
      acts += 16;
      ptrs += 16;
      continue;
    }
    const n = min(UNPACKED_COLUMNS, count - i);
    if (unpacked) {
      unpackActive<C>(scratch, acts, ptrs, offset, n, 0, cols, positions, actStride);
    }
    for (let p = 0; p < positions; p++) {
      const row = y + <usize>p * rowBytes;
      const ap = acts + ((<usize>p * actStride) << 2);
      if (unpacked) down1<U>(row, false, ap, scratch, 0, n, 0, cols);
      else down1<C>(row, false, ap, ptrs, offset, n, 0, cols);
    }
    i += n;
    acts += (<usize>n) << 2;
    ptrs += (<usize>n) << 2;
  }
}

/** Whether the four activations from `acts` on are not 0 for any position. */
function allActive(acts: usize, positions: i32, actStride: usize): bool {
  for (let p = 0; p < positions; p++) {
    if (v128.any_true(f32x4.eq(v128.load(acts), f32x4.splat(0)))) return false;
    acts += actStride << 2;
  }
  return true;
}

/**
 * The same for any number of positions and columns [colStart, colEnd), with sums added to y as soon as a
 * group is complete. `sums`, strided as y, holds the sum of the incomplete group: 0 before the first call;
 * after the last call, the caller adds the remaining sum. `scratch` is 0 or
 *
 *     | UNPACKED_COLUMNS addresses, u32 | UNPACKED_COLUMNS columns, colEnd - colStart f32 each |
 *
 * where active columns are unpacked once for all positions; for quantised formats in blocks, as
 * ceil of (colEnd - colStart) / 32, and one more. Strides in elements.
 */
export function ffnDown<C extends Columns, U extends Columns>(
  y: usize,
  sums: usize,
  acts: usize,
  ptrs: usize,
  downOffset: usize,
  first: i32,
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
  const offset = downOffset + c.offset(colStart);
  const skip = c.skip(colStart);
  const unpacked = scratch != 0 && positions > 2;
  y += (<usize>colStart) << 2;
  sums += (<usize>colStart) << 2;
  for (let i = 0; i < count; ) {
    const inGroup = (first + i) % NEURON_GROUP;
    const n = min(min(UNPACKED_COLUMNS, count - i), NEURON_GROUP - inGroup);
    if (unpacked) {
      unpackActive<C>(scratch, acts, ptrs, offset, n, skip, columns, positions, actStride);
    }
    for (let p = 0; p < positions; p++) {
      const row = (<usize>p * yStride) << 2;
      const ap = acts + ((<usize>p * actStride) << 2);
      if (unpacked) down1<U>(sums + row, false, ap, scratch, 0, n, skip, columns);
      else down1<C>(sums + row, false, ap, ptrs, offset, n, skip, columns);
      if (inGroup + n == NEURON_GROUP) {
        add(y + row, sums + row, columns);
        memory.fill(sums + row, 0, (<usize>columns) << 2);
      }
    }
    i += n;
    acts += (<usize>n) << 2;
    ptrs += (<usize>n) << 2;
  }
}

/** Fills `scratch` with the columns, among n, that are active for any position. */
export function unpackActive<C extends Columns>(
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
      active |= V.notZero(row + ((<usize>k) << 2), n - k) << k;
    }
  }
  let column = scratch + ((<usize>UNPACKED_COLUMNS) << 2);
  for (let k = 0; k < n; k++) {
    store<u32>(scratch + ((<usize>k) << 2), <u32>column);
    if (active & (1 << k)) {
      c.unpack(column, <usize>load<u32>(ptrs + ((<usize>k) << 2)) + offset, skip, columns);
    }
    column += c.unpackedBytes(skip, columns);
  }
}

/**
 * One position: y[0..columns) = (fresh ? 0 : y) + the sum of acts[i] d_i over i < count. Active neurons
 * are added four at a time, so that y is read and written a quarter as often.
 */
export function down1<C extends Columns>(
  y: usize,
  fresh: bool,
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
    let active = V.notZero(acts + ((<usize>i) << 2), count - i);
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
        c.add(y, fresh, 4, d0, d1, d2, d3, a0, a1, a2, a3, skip, columns);
        waiting = 0;
        fresh = false;
      }
    }
  }
  if (waiting == 3) c.add(y, fresh, 3, d1, d2, d3, d3, a1, a2, a3, a3, skip, columns);
  else if (waiting == 2) c.add(y, fresh, 2, d2, d3, d3, d3, a2, a3, a3, a3, skip, columns);
  else if (waiting == 1) c.add(y, fresh, 1, d3, d3, d3, d3, a3, a3, a3, a3, skip, columns);
  else if (fresh) memory.fill(y, 0, (<usize>columns) << 2);
}
