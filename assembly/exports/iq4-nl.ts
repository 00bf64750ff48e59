/** The kernels for weights in iq4_nl. Written by "npm run generate". */

import { ffnGatedUp, ffnUp } from '../ffn';
import { IQ4_NL } from '../gguf-blocks';
import { matmul, QuantisedDots } from '../matmul';
import { BlockRows, exactMatmul, firstNonFiniteRow, matmulAdd, rowsToF32 } from '../stored-rows';

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
): void {
  matmul<QuantisedDots<IQ4_NL>>(y, x, w, bias, rows, cols, positions, xStride, yStride, scratch);
}

export function matmulAdd_iq4_nl(
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
  matmulAdd<BlockRows<IQ4_NL>>(y, x, w, rows, cols, positions, xStride, yStride, scratch);
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

export function ffnUp_iq4_nl(
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
  ffnUp<QuantisedDots<IQ4_NL>>(
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

export function ffnGatedUp_iq4_nl(
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
  ffnGatedUp<QuantisedDots<IQ4_NL>>(
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

export function toF32_iq4_nl(dst: usize, src: usize, n: i32): void {
  rowsToF32<BlockRows<IQ4_NL>>(dst, src, n);
}

export function firstNonFinite_iq4_nl(src: usize, n: i32): i32 {
  return firstNonFiniteRow<BlockRows<IQ4_NL>>(src, n);
}
