/** The kernels for weights in q8_0. Written by "npm run generate". */

import { Q8_0 } from '../gguf-blocks';
import { MakeQ8_0, rowsFromF32 } from '../make-gguf';
import { matmul, QuantisedDots } from '../matmul';
import { BlockRows, exactMatmul, firstNonFiniteRow, rowsToF32 } from '../stored-rows';
import { tileRows, tileSums } from '../tiles';

export function matmul_q8_0(
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
  matmul<QuantisedDots<Q8_0>>(
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

export function exactMatmul_q8_0(
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
  exactMatmul<BlockRows<Q8_0>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function tileRows_q8_0(
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
  tileRows<QuantisedDots<Q8_0>>(
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

export function tileSums_q8_0(
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
  tileSums<QuantisedDots<Q8_0>>(
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

export function toF32_q8_0(dst: usize, src: usize, n: i32): void {
  rowsToF32<BlockRows<Q8_0>>(dst, src, n);
}

export function firstNonFinite_q8_0(src: usize, n: i32): i32 {
  return firstNonFiniteRow<BlockRows<Q8_0>>(src, n);
}

export function fromF32_q8_0(dst: usize, src: usize, n: i32): void {
  rowsFromF32<MakeQ8_0>(dst, src, n);
}
