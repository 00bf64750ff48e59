/** The kernels for weights in ternary. Written by "npm run generate". */

import { PlainColumns } from '../columns';
import { Unpacked } from '../dtype';
import { ffnGatedUp, ffnUp } from '../ffn';
import { ffnDown, ffnSums } from '../ffn-down';
import { ffnListDown, ffnListSums } from '../ffn-list';
import { matmul } from '../matmul';
import { exactMatmul, firstNonFiniteRow, rowsToF32 } from '../stored-rows';
import { TernaryDots } from '../ternary';
import { TernaryColumns, TernaryRows } from '../ternary-rows';
import { tileRows, tileSums } from '../tiles';

export { ternaryFromF32 as fromF32_ternary } from '../ternary-rows';

export function matmul_ternary(
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
  matmul<TernaryDots>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch, quantised);
}

export function exactMatmul_ternary(
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
  exactMatmul<TernaryRows>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function tileRows_ternary(
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
  tileRows<TernaryDots>(
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

export function tileSums_ternary(
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
  tileSums<TernaryDots>(
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

export function ffnUp_ternary(
  acts: usize,
  x: usize,
  ptrs: usize,
  bias: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
  scratch: usize,
  threshold: f32,
): void {
  ffnUp<TernaryDots>(
    acts,
    x,
    ptrs,
    bias,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    scratch,
    threshold,
  );
}

export function ffnGatedUp_ternary(
  acts: usize,
  gates: usize,
  x: usize,
  ptrs: usize,
  upOffset: usize,
  gateBias: usize,
  upBias: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  actStride: usize,
  code: i32,
  upCode: i32,
  scratch: usize,
  threshold: f32,
): void {
  ffnGatedUp<TernaryDots>(
    acts,
    gates,
    x,
    ptrs,
    upOffset,
    gateBias,
    upBias,
    count,
    cols,
    positions,
    xStride,
    actStride,
    code,
    upCode,
    scratch,
    threshold,
  );
}

export function ffnSums_ternary(
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
  ffnSums<TernaryColumns, PlainColumns<Unpacked>>(
    sums,
    acts,
    ptrs,
    downOffset,
    first,
    count,
    cols,
    positions,
    actStride,
    groupStart,
    groupEnd,
    scratch,
  );
}

export function ffnDown_ternary(
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
  ffnDown<TernaryColumns, PlainColumns<Unpacked>>(
    y,
    sums,
    acts,
    ptrs,
    downOffset,
    first,
    count,
    colStart,
    colEnd,
    positions,
    yStride,
    actStride,
    scratch,
  );
}

export function ffnListSums_ternary(
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
  ffnListSums<TernaryColumns>(
    sums,
    acts,
    ptrs,
    downOffset,
    bounds,
    groups,
    count,
    cols,
    continued,
    groupStart,
    groupEnd,
  );
}

export function ffnListDown_ternary(
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
  ffnListDown<TernaryColumns, PlainColumns<Unpacked>>(
    y,
    sums,
    acts,
    ptrs,
    downOffset,
    bounds,
    groups,
    count,
    colStart,
    colEnd,
    positions,
    yStride,
    actStride,
    scratch,
  );
}

export function toF32_ternary(dst: usize, src: usize, n: i32): void {
  rowsToF32<TernaryRows>(dst, src, n);
}

export function firstNonFinite_ternary(src: usize, n: i32): i32 {
  return firstNonFiniteRow<TernaryRows>(src, n);
}
