/** The kernels for weights in q6_k. Written by "npm run generate". */

import { ffnGatedUp, ffnUp } from '../ffn';
import { Q6_K } from '../k-groups';
import { GroupDots, matmul } from '../matmul';
import { exactMatmul, firstNonFiniteRow, GroupRows, matmulAdd, rowsToF32 } from '../stored-rows';

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
): void {
  matmul<GroupDots<Q6_K>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function matmulAdd_q6_k(
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
  matmulAdd<GroupRows<Q6_K>>(y, x, w, rows, cols, positions, xStride, yStride, scratch);
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

export function ffnUp_q6_k(
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
  ffnUp<GroupDots<Q6_K>>(
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

export function ffnGatedUp_q6_k(
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
  ffnGatedUp<GroupDots<Q6_K>>(
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

export function toF32_q6_k(dst: usize, src: usize, n: i32): void {
  rowsToF32<GroupRows<Q6_K>>(dst, src, n);
}

export function firstNonFinite_q6_k(src: usize, n: i32): i32 {
  return firstNonFiniteRow<GroupRows<Q6_K>>(src, n);
}
