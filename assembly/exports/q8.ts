/** The kernels for weights in q8. Written by "npm run generate". */

import { Q8, UnpackedBlock } from '../block';
import { QuantisedColumns } from '../columns';
import { ffnGatedUp, ffnUp } from '../ffn';
import { ffnDown, ffnSums } from '../ffn-down';
import { ffnListDown, ffnListSums } from '../ffn-list';
import { matmul, QuantisedDots } from '../matmul';
import { blocksToF32, f32ToBlocks, firstNonFiniteBlock, MakeQ8 } from '../quantise';
import { tileRows, tileSums } from '../tiles';

export function matmul_q8(
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
  matmul<QuantisedDots<Q8>>(
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

export function tileRows_q8(
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
  tileRows<QuantisedDots<Q8>>(
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

export function tileSums_q8(
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
  tileSums<QuantisedDots<Q8>>(
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

export function ffnUp_q8(
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
  ffnUp<QuantisedDots<Q8>>(
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

export function ffnGatedUp_q8(
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
  ffnGatedUp<QuantisedDots<Q8>>(
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

export function ffnSums_q8(
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
  ffnSums<QuantisedColumns<Q8>, QuantisedColumns<UnpackedBlock>>(
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

export function ffnDown_q8(
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
  ffnDown<QuantisedColumns<Q8>, QuantisedColumns<UnpackedBlock>>(
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

export function ffnListSums_q8(
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
  ffnListSums<QuantisedColumns<Q8>>(
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

export function ffnListDown_q8(
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
  ffnListDown<QuantisedColumns<Q8>, QuantisedColumns<UnpackedBlock>>(
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

export function toF32_q8(dst: usize, src: usize, n: i32): void {
  blocksToF32<Q8>(dst, src, n);
}

export function firstNonFinite_q8(src: usize, n: i32): i32 {
  return firstNonFiniteBlock<Q8>(src, n);
}

export function fromF32_q8(dst: usize, src: usize, n: i32): void {
  f32ToBlocks<Q8, MakeQ8>(dst, src, n);
}
