/** The kernels for weights in packed_q6_k. Written by "npm run generate". */

import { quantiseInput } from '../group-activations';
import { matmul, PackedGroupDots } from '../matmul';
import { packGroups, unpackGroupRow } from '../pack-groups';
import { Q6_K } from '../run-groups';
import { tileRows, tileSums } from '../tiles';

export function quantise_packed_q6_k(
  q: usize,
  x: usize,
  cols: i32,
  positions: i32,
  xStride: usize,
): void {
  quantiseInput<Q6_K>(q, x, cols, positions, xStride);
}

export function matmul_packed_q6_k(
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
  matmul<PackedGroupDots<Q6_K>>(
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

export function tileRows_packed_q6_k(
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
  tileRows<PackedGroupDots<Q6_K>>(
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

export function tileSums_packed_q6_k(
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
  tileSums<PackedGroupDots<Q6_K>>(
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

export function packRows_packed_q6_k(w: usize, rows: i32, cols: i32, scratch: usize): void {
  packGroups<Q6_K>(w, rows, cols, scratch);
}

export function unpackRow_packed_q6_k(dst: usize, src: usize, row: i32, cols: i32): void {
  unpackGroupRow<Q6_K>(dst, src, row, cols);
}
