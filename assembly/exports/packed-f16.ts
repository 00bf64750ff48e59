/** The kernels for weights in packed_f16. Written by "npm run generate". */

import { PlainColumns } from '../columns';
import { unpack } from '../dot';
import { Unpacked } from '../dtype';
import { ffnGatedUp, ffnUp } from '../ffn';
import { ffnDown, ffnSums } from '../ffn-down';
import { ffnListDown, ffnListSums } from '../ffn-list';
import { matmul, PlainDots } from '../matmul';
import { PackedF16 } from '../packed';
import { tileRows, tileSums } from '../tiles';

export { packableF16 as packable_packed_f16, packF16 as pack_packed_f16 } from '../packed';

export function matmul_packed_f16(
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
  matmul<PlainDots<PackedF16>>(
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

export function tileRows_packed_f16(
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
  tileRows<PlainDots<PackedF16>>(
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

export function tileSums_packed_f16(
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
  tileSums<PlainDots<PackedF16>>(
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

export function ffnUp_packed_f16(
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
  ffnUp<PlainDots<PackedF16>>(
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

export function ffnGatedUp_packed_f16(
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
  ffnGatedUp<PlainDots<PackedF16>>(
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

export function ffnSums_packed_f16(
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
  ffnSums<PlainColumns<PackedF16>, PlainColumns<Unpacked>>(
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

export function ffnDown_packed_f16(
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
  ffnDown<PlainColumns<PackedF16>, PlainColumns<Unpacked>>(
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

export function ffnListSums_packed_f16(
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
  ffnListSums<PlainColumns<PackedF16>>(
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

export function ffnListDown_packed_f16(
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
  ffnListDown<PlainColumns<PackedF16>, PlainColumns<Unpacked>>(
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

export function toF32_packed_f16(dst: usize, src: usize, n: i32): void {
  unpack<PackedF16>(dst, src, n);
}
