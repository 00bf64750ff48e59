/** The kernels for weights in q4. Written by "npm run generate". */

import { Q4, UnpackedBlock } from '../block';
import { QuantisedColumns } from '../columns';
import { ffnGatedUp, ffnUp } from '../ffn';
import { ffnDown, ffnSums } from '../ffn-down';
import { ffnListDown, ffnListSums } from '../ffn-list';
import { matmul, QuantisedDots } from '../matmul';
import { blocksToF32, f32ToBlocks, firstNonFiniteBlock, MakeQ4 } from '../quantise';
import { tileRows, tileSums } from '../tiles';

export function matmul_q4(
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
  matmul<QuantisedDots<Q4>>(
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

export function tileRows_q4(
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
  tileRows<QuantisedDots<Q4>>(
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

export function tileSums_q4(
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
  tileSums<QuantisedDots<Q4>>(
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

export function ffnUp_q4(
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
  ffnUp<QuantisedDots<Q4>>(
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

export function ffnGatedUp_q4(
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
  ffnGatedUp<QuantisedDots<Q4>>(
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

export function ffnSums_q4(
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
  ffnSums<QuantisedColumns<Q4>, QuantisedColumns<UnpackedBlock>>(
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

export function ffnDown_q4(
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
  ffnDown<QuantisedColumns<Q4>, QuantisedColumns<UnpackedBlock>>(
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

export function ffnListSums_q4(
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
  ffnListSums<QuantisedColumns<Q4>>(
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

export function ffnListDown_q4(
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
  ffnListDown<QuantisedColumns<Q4>, QuantisedColumns<UnpackedBlock>>(
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

export function toF32_q4(dst: usize, src: usize, n: i32): void {
  blocksToF32<Q4>(dst, src, n);
}

export function firstNonFinite_q4(src: usize, n: i32): i32 {
  return firstNonFiniteBlock<Q4>(src, n);
}

export function fromF32_q4(dst: usize, src: usize, n: i32): void {
  f32ToBlocks<Q4, MakeQ4>(dst, src, n);
}
