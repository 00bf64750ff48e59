/** The kernels for weights in q5_k. Written by "npm run generate". */

import { ffnGatedUp, ffnUp } from '../ffn';
import { Q5_K } from '../k-groups';
import { GroupDots, matmul } from '../matmul';
import { exactMatmul, firstNonFiniteRow, GroupRows, matmulAdd, rowsToF32 } from '../stored-rows';

export function matmul_q5_k(
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
  matmul<GroupDots<Q5_K>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function matmulAdd_q5_k(
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
  matmulAdd<GroupRows<Q5_K>>(y, x, w, rows, cols, positions, xStride, yStride, scratch);
}

export function exactMatmul_q5_k(
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
  exactMatmul<GroupRows<Q5_K>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function ffnUp_q5_k(
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
  ffnUp<GroupDots<Q5_K>>(
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

export function ffnGatedUp_q5_k(
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
  ffnGatedUp<GroupDots<Q5_K>>(
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

export function toF32_q5_k(dst: usize, src: usize, n: i32): void {
  rowsToF32<GroupRows<Q5_K>>(dst, src, n);
}

export function firstNonFinite_q5_k(src: usize, n: i32): i32 {
  return firstNonFiniteRow<GroupRows<Q5_K>>(src, n);
}
