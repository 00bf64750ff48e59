/** The kernels for weights in q8_0. Written by "npm run generate". */

import { ffnGatedUp, ffnUp } from '../ffn';
import { Q8_0 } from '../gguf-blocks';
import { matmul, QuantisedDots } from '../matmul';
import { BlockRows, exactMatmul, firstNonFiniteRow, matmulAdd, rowsToF32 } from '../stored-rows';

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
): void {
  matmul<QuantisedDots<Q8_0>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function matmulAdd_q8_0(
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
  matmulAdd<BlockRows<Q8_0>>(y, x, w, rows, cols, positions, xStride, yStride, scratch);
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

export function ffnUp_q8_0(
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
  ffnUp<QuantisedDots<Q8_0>>(
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

export function ffnGatedUp_q8_0(
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
  ffnGatedUp<QuantisedDots<Q8_0>>(
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

export function toF32_q8_0(dst: usize, src: usize, n: i32): void {
  rowsToF32<BlockRows<Q8_0>>(dst, src, n);
}

export function firstNonFinite_q8_0(src: usize, n: i32): i32 {
  return firstNonFiniteRow<BlockRows<Q8_0>>(src, n);
}
