/**
 * y = x W^T + b, with W (rows, cols) row-major in any dtype, x and y f32. Decoding has one position,
 * prefill several.
 */
import { activeDots, BlockFours, PlainFours } from './active-dot';
import { BlockCodec } from './block';
import { blockDots } from './block-matmul';
import { dots } from './dot';
import { Codec } from './dtype';
import { GroupCodec } from './group';
import { groupDots } from './group-matmul';
import { add } from './math';
import { packedDots } from './packed-groups';

/** Products of a format's rows with activations; never instantiated, like the codecs. */
@unmanaged
export abstract class Dots {
  abstract dots(
    y: usize,
    x: usize,
    w: usize,
    ptrs: usize,
    count: i32,
    cols: i32,
    positions: i32,
    xStride: usize,
    yStride: usize,
    scratch: usize,
    quantised: bool,
  ): void;
}

/** The same for rows of FFN bundles. */
@unmanaged
export abstract class NeuronDots extends Dots {
  /** Products only where gates are not 0; `scratch` must be as `dots` has left it for the same x. */
  abstract activeDots(
    y: usize,
    gates: usize,
    x: usize,
    w: usize,
    ptrs: usize,
    count: i32,
    cols: i32,
    positions: i32,
    xStride: usize,
    yStride: usize,
    scratch: usize,
  ): void;
}

/** In f32. `scratch` may be 0. */
@unmanaged
export class PlainDots<T extends Codec> extends NeuronDots {
  @inline override dots(
    y: usize,
    x: usize,
    w: usize,
    ptrs: usize,
    count: i32,
    cols: i32,
    positions: i32,
    xStride: usize,
    yStride: usize,
    scratch: usize,
    _quantised: bool,
  ): void {
    dots<T>(y, x, w, ptrs, count, cols, positions, xStride, yStride, scratch);
  }
  @inline override activeDots(
    y: usize,
    gates: usize,
    x: usize,
    w: usize,
    ptrs: usize,
    count: i32,
    cols: i32,
    positions: i32,
    xStride: usize,
    yStride: usize,
    scratch: usize,
  ): void {
    activeDots<PlainFours<T>>(
      y,
      gates,
      x,
      w,
      ptrs,
      count,
      cols,
      positions,
      xStride,
      yStride,
      scratch,
    );
  }
}

/** In integers. `scratch` must be given. */
@unmanaged
export class QuantisedDots<T extends BlockCodec> extends NeuronDots {
  @inline override dots(
    y: usize,
    x: usize,
    w: usize,
    ptrs: usize,
    count: i32,
    cols: i32,
    positions: i32,
    xStride: usize,
    yStride: usize,
    scratch: usize,
    _quantised: bool,
  ): void {
    blockDots<T>(y, x, w, ptrs, count, cols, positions, xStride, yStride, scratch);
  }
  @inline override activeDots(
    y: usize,
    gates: usize,
    x: usize,
    w: usize,
    ptrs: usize,
    count: i32,
    cols: i32,
    positions: i32,
    xStride: usize,
    yStride: usize,
    scratch: usize,
  ): void {
    activeDots<BlockFours<T>>(
      y,
      gates,
      x,
      w,
      ptrs,
      count,
      cols,
      positions,
      xStride,
      yStride,
      scratch,
    );
  }
}

/** In integers, of groups (group-dot.ts). `scratch` must be given. */
@unmanaged
export class GroupDots<T extends GroupCodec> extends Dots {
  @inline override dots(
    y: usize,
    x: usize,
    w: usize,
    ptrs: usize,
    count: i32,
    cols: i32,
    positions: i32,
    xStride: usize,
    yStride: usize,
    scratch: usize,
    quantised: bool,
  ): void {
    groupDots<T>(y, x, w, ptrs, count, cols, positions, xStride, yStride, scratch, quantised);
  }
}

/** The same for packed rows (packed-groups.ts): a multiple of four rows, without a list of addresses. */
@unmanaged
export class PackedGroupDots<T extends GroupCodec> extends Dots {
  @inline override dots(
    y: usize,
    x: usize,
    w: usize,
    _ptrs: usize,
    count: i32,
    cols: i32,
    positions: i32,
    xStride: usize,
    yStride: usize,
    scratch: usize,
    quantised: bool,
  ): void {
    packedDots<T>(y, x, w, count, cols, positions, xStride, yStride, scratch, quantised);
  }
}

/**
 * y[p, r] = dot(w[r], x[p]) + bias[r]; bias is f32, or 0 for none. Strides in elements.
 * With `quantised`, x is the result of `quantiseInput`.
 */
export function matmul<D extends Dots>(
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
  const q = quantised != 0;
  changetype<D>(0).dots(y, x, w, 0, rows, cols, positions, xStride, yStride, scratch, q);
  if (bias == 0) return;
  for (let p = 0; p < positions; p++) add(y + ((<usize>p * yStride) << 2), bias, rows);
}
