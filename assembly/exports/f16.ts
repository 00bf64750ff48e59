/** The kernels for weights in f16. Written by "npm run generate". */

import { PlainColumns } from '../columns';
import { FromF16, firstNonFinite16, fromF32, ToF16, toF32 } from '../convert';
import { F16, Unpacked } from '../dtype';
import { ffnGatedUp, ffnUp } from '../ffn';
import { ffnDown, ffnSums } from '../ffn-down';
import { ffnListDown, ffnListSums } from '../ffn-list';
import { matmul, PlainDots } from '../matmul';
import { tileRows, tileSums } from '../tiles';

export function matmul_f16(
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
  matmul<PlainDots<F16>>(
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

export function tileRows_f16(
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
  tileRows<PlainDots<F16>>(
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

export function tileSums_f16(
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
  tileSums<PlainDots<F16>>(
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

export function ffnUp_f16(
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
  ffnUp<PlainDots<F16>>(
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

export function ffnGatedUp_f16(
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
  ffnGatedUp<PlainDots<F16>>(
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

export function ffnSums_f16(
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
  ffnSums<PlainColumns<F16>, PlainColumns<Unpacked>>(
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

export function ffnDown_f16(
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
  ffnDown<PlainColumns<F16>, PlainColumns<Unpacked>>(
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

export function ffnListSums_f16(
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
  ffnListSums<PlainColumns<F16>>(
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

export function ffnListDown_f16(
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
  ffnListDown<PlainColumns<F16>, PlainColumns<Unpacked>>(
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

export function toF32_f16(dst: usize, src: usize, n: i32): void {
  toF32<FromF16>(dst, src, n);
}

export function firstNonFinite_f16(src: usize, n: i32): i32 {
  return firstNonFinite16<FromF16>(src, n);
}

export function fromF32_f16(dst: usize, src: usize, n: i32): void {
  fromF32<ToF16>(dst, src, n);
}
