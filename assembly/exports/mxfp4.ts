/** The kernels for weights in mxfp4. Written by "npm run generate". */

import { quantiseInput } from '../group-activations';
import { GroupDots, matmul } from '../matmul';
import { MXFP4 } from '../small-groups';
import { exactMatmul, firstNonFiniteRow, GroupRows, rowsToF32 } from '../stored-rows';
import { tileRows, tileSums } from '../tiles';

export function quantise_mxfp4(
  q: usize,
  x: usize,
  cols: i32,
  positions: i32,
  xStride: usize,
): void {
  quantiseInput<MXFP4>(q, x, cols, positions, xStride);
}

export function matmul_mxfp4(
  y: usize,
  x: usize,
  w: usize,
  bias: usize,
  rows: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
  quantised: i32,
): void {
  matmul<GroupDots<MXFP4>>(
    y,
    x,
    w,
    bias,
    rows,
    cols,
    positions,
    xStride,
    yStride,
    scratch,
    quantised,
  );
}

export function exactMatmul_mxfp4(
  y: usize,
  x: usize,
  w: usize,
  bias: usize,
  rows: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
): void {
  exactMatmul<GroupRows<MXFP4>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function tileRows_mxfp4(
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
  tileRows<GroupDots<MXFP4>>(
    y,
    x,
    w,
    tileBytes,
    perTile,
    rowBytes,
    rowStart,
    rowEnd,
    cols,
    positions,
    xStride,
    yStride,
    scratch,
    quantised,
  );
}

export function tileSums_mxfp4(
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
  tileSums<GroupDots<MXFP4>>(
    y,
    sums,
    x,
    w,
    tileBytes,
    tiles,
    rowBytes,
    rowStart,
    rowEnd,
    cols,
    positions,
    xStride,
    yStride,
    scratch,
    quantised,
  );
}

export function toF32_mxfp4(dst: usize, src: usize, n: i32): void {
  rowsToF32<GroupRows<MXFP4>>(dst, src, n);
}

export function firstNonFinite_mxfp4(src: usize, n: i32): i32 {
  return firstNonFiniteRow<GroupRows<MXFP4>>(src, n);
}
