/**
 * y = x W^T + b, with W (rows, cols) row-major in any dtype, x and y f32. One position is the
 * decoding of a token, several are a part of the prompt.
 */
import { dots } from './dot';
import { Codec } from './dtype';
import { add } from './math';

/**
 * y[p, r] = dot(w[r], x[p]) + bias[r]; bias is f32, or 0 for none. Strides in elements. `scratch`
 * is 4 x cols f32, or 0: then weights are decoded again for every three positions.
 */
export function matmul<T extends Codec>(
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
  dots<T>(y, x, w, 0, rows, cols, positions, xStride, yStride, scratch);
  if (bias == 0) return;
  for (let p = 0; p < positions; p++) add(y + ((<usize>p * yStride) << 2), bias, rows);
}
