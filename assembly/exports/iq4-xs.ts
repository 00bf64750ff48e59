/** The kernels for weights in iq4_xs. Written by "npm run generate". */

import { IQ4_XSDots, IQ4_XSRows } from '../iq4-xs';
import { matmul } from '../matmul';
import { exactMatmul, firstNonFiniteRow, rowsToF32 } from '../stored-rows';
import { tileRows, tileSums } from '../tiles';

export function matmul_iq4_xs(
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
  matmul<IQ4_XSDots>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch, quantised);
}

export function exactMatmul_iq4_xs(
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
  exactMatmul<IQ4_XSRows>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function tileRows_iq4_xs(
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
  tileRows<IQ4_XSDots>(
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

export function tileSums_iq4_xs(
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
  tileSums<IQ4_XSDots>(
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

export function toF32_iq4_xs(dst: usize, src: usize, n: i32): void {
  rowsToF32<IQ4_XSRows>(dst, src, n);
}

export function firstNonFinite_iq4_xs(src: usize, n: i32): i32 {
  return firstNonFiniteRow<IQ4_XSRows>(src, n);
}
