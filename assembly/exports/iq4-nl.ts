/** The kernels for weights in iq4_nl. Written by "npm run generate". */

import { IQ4_NL } from '../gguf-blocks';
import { matmul, QuantisedDots } from '../matmul';
import { BlockRows, exactMatmul, firstNonFiniteRow, rowsToF32 } from '../stored-rows';
import { tileRows, tileSums } from '../tiles';

export function matmul_iq4_nl(
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
  matmul<QuantisedDots<IQ4_NL>>(
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

export function exactMatmul_iq4_nl(
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
  exactMatmul<BlockRows<IQ4_NL>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function tileRows_iq4_nl(
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
  tileRows<QuantisedDots<IQ4_NL>>(
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

export function tileSums_iq4_nl(
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
  tileSums<QuantisedDots<IQ4_NL>>(
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

export function toF32_iq4_nl(dst: usize, src: usize, n: i32): void {
  rowsToF32<BlockRows<IQ4_NL>>(dst, src, n);
}

export function firstNonFinite_iq4_nl(src: usize, n: i32): i32 {
  return firstNonFiniteRow<BlockRows<IQ4_NL>>(src, n);
}
