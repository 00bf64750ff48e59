/** The kernels for weights in q4_k. Written by "npm run generate". */

import { quantiseInput } from '../group-activations';
import { Q4_K } from '../k-groups';
import { MakeQ4_K, rowsFromF32 } from '../make-gguf';
import { GroupDots, matmul } from '../matmul';
import { exactMatmul, firstNonFiniteRow, GroupRows, rowsToF32 } from '../stored-rows';
import { tileRows, tileSums } from '../tiles';

export function quantise_q4_k(q: usize, x: usize, cols: i32, positions: i32, xStride: usize): void {
  quantiseInput<Q4_K>(q, x, cols, positions, xStride);
}

export function matmul_q4_k(
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
  matmul<GroupDots<Q4_K>>(
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

export function exactMatmul_q4_k(
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
  exactMatmul<GroupRows<Q4_K>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function tileRows_q4_k(
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
  tileRows<GroupDots<Q4_K>>(
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

export function tileSums_q4_k(
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
  tileSums<GroupDots<Q4_K>>(
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

export function toF32_q4_k(dst: usize, src: usize, n: i32): void {
  rowsToF32<GroupRows<Q4_K>>(dst, src, n);
}

export function firstNonFinite_q4_k(src: usize, n: i32): i32 {
  return firstNonFiniteRow<GroupRows<Q4_K>>(src, n);
}

export function fromF32_q4_k(dst: usize, src: usize, n: i32): void {
  rowsFromF32<MakeQ4_K>(dst, src, n);
}
