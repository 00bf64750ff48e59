/** The kernels for weights in packed_mxfp4. Written by "npm run generate". */

import { quantiseInput } from '../group-activations';
import { matmul, PackedGroupDots } from '../matmul';
import { packGroups, unpackGroupRow } from '../pack-groups';
import { MXFP4 } from '../small-groups';
import { tileRows, tileSums } from '../tiles';

export function quantise_packed_mxfp4(
  q: usize,
  x: usize,
  cols: i32,
  positions: i32,
  xStride: usize,
): void {
  quantiseInput<MXFP4>(q, x, cols, positions, xStride);
}

export function matmul_packed_mxfp4(
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
  matmul<PackedGroupDots<MXFP4>>(
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

export function tileRows_packed_mxfp4(
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
  tileRows<PackedGroupDots<MXFP4>>(
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

export function tileSums_packed_mxfp4(
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
  tileSums<PackedGroupDots<MXFP4>>(
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

export function packRows_packed_mxfp4(w: usize, rows: i32, cols: i32, scratch: usize): void {
  packGroups<MXFP4>(w, rows, cols, scratch);
}

export function unpackRow_packed_mxfp4(dst: usize, src: usize, row: i32, cols: i32): void {
  unpackGroupRow<MXFP4>(dst, src, row, cols);
}
