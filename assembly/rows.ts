/**
 * The order in which a matrix's rows are processed: four at a time, one from each quarter.
 *
 *     row 0 .. q-1 | q .. 2q-1 | 2q .. 3q-1 | 3q .. count-1        q = ceil(count / 4)
 *         i          i + q       i + 2q       i + 3q               for i = 0, 1, 2, ...
 *
 * So memory is read as four streams that continue from one row to the next. With four adjacent rows the
 * streams end with the rows, and the processor's prefetcher has to detect each of them again: with rows
 * of 1792 bytes that took half of the time. If a quarter has one row less, the last row is computed again.
 */
export abstract class Quarters {
  /** Rows of a quarter. */
  @inline static rows(count: i32): i32 {
    return (count + 3) >> 2;
  }

  /** Address of row i: w bytes beyond the i-th of the list, or the i-th of `rowBytes` each from w on. */
  @inline static row(w: usize, ptrs: usize, rowBytes: usize, i: i32): usize {
    return ptrs != 0 ? w + <usize>load<u32>(ptrs + ((<usize>i) << 2)) : w + <usize>i * rowBytes;
  }

  /** Stores each lane at its offset from y, in bytes. */
  @inline static store(y: usize, v: v128, at0: usize, at1: usize, at2: usize, at3: usize): void {
    v128.store_lane<f32>(y + at0, v, 0);
    v128.store_lane<f32>(y + at1, v, 1);
    v128.store_lane<f32>(y + at2, v, 2);
    v128.store_lane<f32>(y + at3, v, 3);
  }
}
