/**
 * Products with matrices in tiles of an FFN, which are `tileBytes` apart. One call computes all tiles, since
 * a call and the synchronisation of threads cost more than a tile.
 * With `quantised`, x is the result of `quantiseInput` for all columns of all tiles at once.
 */
import { quantisedOffset } from './group-activations';
import { add } from './math';
import { Dots } from './matmul';

/**
 * y[p, r] = dot(w_t[r - t perTile], x[p]) for r in [rowStart, rowEnd), where t = floor(r / perTile) and
 * w_t, of `perTile` rows of `rowBytes` each, is at w + t tileBytes.
 */
export function tileRows<D extends Dots>(
  y: usize,
  x: usize,
  w: usize,
  tileBytes: usize,
  perTile: i32,
  rowBytes: usize,
  rowStart: i32,
  rowEnd: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
  quantised: i32,
): void {
  const q = quantised != 0;
  let r = rowStart;
  while (r < rowEnd) {
    const tile = r / perTile;
    const within = r - tile * perTile;
    const rows = min(perTile - within, rowEnd - r);
    const at = w + <usize>tile * tileBytes + <usize>within * rowBytes;
    const yr = y + ((<usize>r) << 2);
    changetype<D>(0).dots(yr, x, at, 0, rows, cols, positions, xStride, yStride, scratch, q);
    r += rows;
  }
}

/**
 * y[p, r] += sum over t < tiles of dot(w_t[r], columns [t cols, (t + 1) cols) of x[p]) for r in
 * [rowStart, rowEnd), added tile by tile; w_t, of rows of `rowBytes`, is at w + t tileBytes. These rows of
 * `sums`, which has the shape of y, are overwritten.
 */
export function tileSums<D extends Dots>(
  y: usize,
  sums: usize,
  x: usize,
  w: usize,
  tileBytes: usize,
  tiles: i32,
  rowBytes: usize,
  rowStart: i32,
  rowEnd: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
  quantised: i32,
): void {
  const q = quantised != 0;
  const xTile = q ? quantisedOffset(cols, positions) : (<usize>cols) << 2;
  const rows = rowEnd - rowStart;
  const first = (<usize>rowStart) << 2;
  let at = w + <usize>rowStart * rowBytes;
  for (let t = 0; t < tiles; t++) {
    const yr = sums + first;
    changetype<D>(0).dots(yr, x, at, 0, rows, cols, positions, xStride, yStride, scratch, q);
    for (let p: usize = 0; p < <usize>positions; p++) {
      const offset = first + ((p * yStride) << 2);
      add(y + offset, sums + offset, rows);
    }
    x += xTile;
    at += tileBytes;
  }
}
