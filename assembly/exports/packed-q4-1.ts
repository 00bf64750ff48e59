/** The kernels for weights in packed_q4_1. Written by "npm run generate". */

import { quantiseInput } from '../group-activations';
import { matmul, PackedGroupDots } from '../matmul';
import { packGroups, unpackGroupRow } from '../pack-groups';
import { Q4_1 } from '../small-groups';
import { tileRows, tileSums } from '../tiles';

export function quantise_packed_q4_1(
  q: usize,
  x: usize,
  cols: i32,
  positions: i32,
  xStride: usize,
): void {
  quantiseInput<Q4_1>(q, x, cols, positions, xStride);
}

export function matmul_packed_q4_1(
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
  matmul<PackedGroupDots<Q4_1>>(
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

export function tileRows_packed_q4_1(
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
  tileRows<PackedGroupDots<Q4_1>>(
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

export function tileSums_packed_q4_1(
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
  tileSums<PackedGroupDots<Q4_1>>(
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

export function packRows_packed_q4_1(w: usize, rows: i32, cols: i32, scratch: usize): void {
  packGroups<Q4_1>(w, rows, cols, scratch);
}

export function unpackRow_packed_q4_1(dst: usize, src: usize, row: i32, cols: i32): void {
  unpackGroupRow<Q4_1>(dst, src, row, cols);
}
