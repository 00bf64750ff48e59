/** The kernels for weights in mxfp4. Written by "npm run generate". */

import { ffnGatedUp, ffnUp } from '../ffn';
import { MXFP4 } from '../gguf-blocks';
import { matmul, QuantisedDots } from '../matmul';
import { BlockRows, exactMatmul, firstNonFiniteRow, matmulAdd, rowsToF32 } from '../stored-rows';

export function matmul_mxfp4(
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
  matmul<QuantisedDots<MXFP4>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function matmulAdd_mxfp4(
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
  matmulAdd<BlockRows<MXFP4>>(y, x, w, rows, cols, positions, xStride, yStride, scratch);
}

export function exactMatmul_mxfp4(
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
  exactMatmul<BlockRows<MXFP4>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function ffnUp_mxfp4(
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
  ffnUp<QuantisedDots<MXFP4>>(
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

export function ffnGatedUp_mxfp4(
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
  ffnGatedUp<QuantisedDots<MXFP4>>(
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

export function toF32_mxfp4(dst: usize, src: usize, n: i32): void {
  rowsToF32<BlockRows<MXFP4>>(dst, src, n);
}

export function firstNonFinite_mxfp4(src: usize, n: i32): i32 {
  return firstNonFiniteRow<BlockRows<MXFP4>>(src, n);
}
