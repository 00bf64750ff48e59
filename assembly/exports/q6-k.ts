/** The kernels for weights in q6_k. Written by "npm run generate". */

import { quantiseInput } from '../group-activations';
import { MakeQ6_K, rowsFromF32 } from '../make-gguf';
import { GroupDots, matmul } from '../matmul';
import { Q6_K } from '../run-groups';
import { exactMatmul, firstNonFiniteRow, GroupRows, rowsToF32 } from '../stored-rows';
import { tileRows, tileSums } from '../tiles';

export function quantise_q6_k(q: usize, x: usize, cols: i32, positions: i32, xStride: usize): void {
  quantiseInput<Q6_K>(q, x, cols, positions, xStride);
}

export function matmul_q6_k(
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
  matmul<GroupDots<Q6_K>>(
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

export function exactMatmul_q6_k(
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
  exactMatmul<GroupRows<Q6_K>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function tileRows_q6_k(
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
  tileRows<GroupDots<Q6_K>>(
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

export function tileSums_q6_k(
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
  tileSums<GroupDots<Q6_K>>(
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

export function toF32_q6_k(dst: usize, src: usize, n: i32): void {
  rowsToF32<GroupRows<Q6_K>>(dst, src, n);
}

export function firstNonFinite_q6_k(src: usize, n: i32): i32 {
  return firstNonFiniteRow<GroupRows<Q6_K>>(src, n);
}

export function fromF32_q6_k(dst: usize, src: usize, n: i32): void {
  rowsFromF32<MakeQ6_K>(dst, src, n);
}
