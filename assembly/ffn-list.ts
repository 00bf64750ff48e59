/**
 * The second half of the feed-forward block over a list of selected neurons, in the order of their
 * ids. It is summed in groups as in ffn-down.ts, but a group is a range of ids, whether or not they are
 * on the list: so the sum of one position is the same to the bit whichever neurons other positions
 * select, and however the list is split into calls.
 *
 *     list      3  17  40 | 70  71 | 200  230  231  ...      ids; groups of 64 in this picture
 *     bounds              3        5                         where each group ends in the list
 *
 * Groups without entries in the list have no bound. Entries after the last bound belong to a group that
 * the next call continues.
 */
import { Columns } from './columns';
import { UNPACKED_COLUMNS } from './exports/shared-constants';
import { down1, unpackActive } from './ffn-down';
import { add } from './math';

/**
 * One position: computes groups [groupStart, groupEnd). The sum of group g is row g of `sums`,
 * (groups + 1, cols) f32, and that of the open group is the last row. If `continued`, group 0 is added
 * to its row.
 */
export function ffnListSums<C extends Columns>(
  sums: usize,
  acts: usize,
  ptrs: usize,
  downOffset: usize,
  bounds: usize,
  groups: i32,
  count: i32,
  cols: i32,
  continued: i32,
  groupStart: i32,
  groupEnd: i32,
): void {
  const rowBytes = (<usize>cols) << 2;
  for (let g = groupStart; g < groupEnd; g++) {
    const row = sums + <usize>g * rowBytes;
    const from = g == 0 ? 0 : bound(bounds, g - 1);
    const to = g < groups ? bound(bounds, g) : count;
    const at = (<usize>from) << 2;
    const fresh = g > 0 || !continued;
    down1<C>(row, fresh, acts + at, ptrs + at, downOffset, to - from, 0, cols);
  }
}

/**
 * Several positions and columns [colStart, colEnd): sums are added to y at the end of each group. `sums`,
 * strided as y, holds the sum of the open group: 0 before the first call; after the last call, the caller
 * adds the remaining sum. `scratch` is that of ffnDown. Strides in elements.
 */
export function ffnListDown<C extends Columns, U extends Columns>(
  y: usize,
  sums: usize,
  acts: usize,
  ptrs: usize,
  downOffset: usize,
  bounds: usize,
  groups: i32,
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
  let i = 0;
  for (let g = 0; g <= groups; g++) {
    const end = g < groups ? bound(bounds, g) : count;
    while (i < end) {
      const n = min(UNPACKED_COLUMNS, end - i);
      const at = (<usize>i) << 2;
      if (unpacked) {
        unpackActive<C>(
          scratch,
          acts + at,
          ptrs + at,
          offset,
          n,
          skip,
          columns,
          positions,
          actStride,
        );
      }
      for (let p = 0; p < positions; p++) {
        const row = sums + ((<usize>p * yStride) << 2);
        const ap = acts + at + ((<usize>p * actStride) << 2);
        if (unpacked) down1<U>(row, false, ap, scratch, 0, n, skip, columns);
        else down1<C>(row, false, ap, ptrs + at, offset, n, skip, columns);
      }
      i += n;
    }
    if (g == groups) return;
    for (let p = 0; p < positions; p++) {
      const row = (<usize>p * yStride) << 2;
      add(y + row, sums + row, columns);
      memory.fill(sums + row, 0, (<usize>columns) << 2);
    }
  }
}

function bound(bounds: usize, g: i32): i32 {
  return load<i32>(bounds + ((<usize>g) << 2));
}
