/** The kernels for weights in q4_0. Written by "npm run generate". */

import { ffnGatedUp, ffnUp } from '../ffn';
import { GroupDots, matmul } from '../matmul';
import { Q4_0 } from '../small-groups';
import { exactMatmul, firstNonFiniteRow, GroupRows, matmulAdd, rowsToF32 } from '../stored-rows';

export function matmul_q4_0(
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
  matmul<GroupDots<Q4_0>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function matmulAdd_q4_0(
  y: usize,
  x: usize,
  w: usize,
  rows: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
): void {
  matmulAdd<GroupRows<Q4_0>>(y, x, w, rows, cols, positions, xStride, yStride, scratch);
}

export function exactMatmul_q4_0(
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
  exactMatmul<GroupRows<Q4_0>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function ffnUp_q4_0(
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
  ffnUp<GroupDots<Q4_0>>(
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

export function ffnGatedUp_q4_0(
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
  ffnGatedUp<GroupDots<Q4_0>>(
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

export function toF32_q4_0(dst: usize, src: usize, n: i32): void {
  rowsToF32<GroupRows<Q4_0>>(dst, src, n);
}

export function firstNonFinite_q4_0(src: usize, n: i32): i32 {
  return firstNonFiniteRow<GroupRows<Q4_0>>(src, n);
}
