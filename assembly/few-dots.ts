/**
 * Dot products of rows with a few positions, such as the proposed tokens of a pass: weights are converted to
 * f32 in registers, once for up to five positions, and are never stored.
 *
 *              x_0    x_1    x_2    x_3    x_4
 *     row a    a00    a01    a02    a03    a04      10 sums, 4 vectors of weights, 1 of activations:
 *     row b    a10    a11    a12    a13    a14      as many as there are registers for
 *
 * Sums are made in the order of dot.ts, so that they are the same to the bit.
 */
import { Codec } from './dtype';
import { V } from './vector';
import { Five, Four, Three, Two, Width } from './width';

/** With more positions, storing unpacked rows and reading them is as fast as unpacking in registers. */
export const FEW_POSITIONS: i32 = 10;

/** Lanes 0 and 1: sums of w0[c] x[c] and w1[c] x[c] over the last `count` columns, one after the other. */
function tails<T extends Codec>(w0: usize, w1: usize, x: usize, count: i32): v128 {
  const t = changetype<T>(0);
  let acc = f32x4.splat(0);
  for (let i = 0; i < count; i++) {
    const w = f32x4.replace_lane(f32x4.splat(t.one(w0)), 1, t.one(w1));
    acc = V.madd(acc, w, v128.load_splat<f32>(x));
    w0 += t.bytes;
    w1 += t.bytes;
    x += 4;
  }
  return acc;
}

/** Stores lane 0 at `at0` and lane 1 at `at1` bytes from y. */
function put(y: usize, at0: usize, at1: usize, sums: v128): void {
  v128.store_lane<f32>(y + at0, sums, 0);
  v128.store_lane<f32>(y + at1, sums, 1);
}

/** y_p[at_i] = dot(w_i, x_p) for two rows and as many positions as N says; `at` in bytes. */
function dots2<T extends Codec, N extends Width>(
  y: usize,
  yBytes: usize,
  at0: usize,
  at1: usize,
  w0: usize,
  w1: usize,
  x: usize,
  xBytes: usize,
  cols: i32,
): void {
  const t = changetype<T>(0);
  const n = changetype<N>(0).positions;
  let x0 = x;
  let x1 = x0 + xBytes;
  let x2 = x1 + xBytes;
  let x3 = x2 + xBytes;
  let x4 = x3 + xBytes;
  let a00 = f32x4.splat(0);
  let a01 = f32x4.splat(0);
  let a02 = f32x4.splat(0);
  let a03 = f32x4.splat(0);
  let a04 = f32x4.splat(0);
  let a10 = f32x4.splat(0);
  let a11 = f32x4.splat(0);
  let a12 = f32x4.splat(0);
  let a13 = f32x4.splat(0);
  let a14 = f32x4.splat(0);
  for (let left = cols >> 3; left > 0; left--) {
    const p0 = t.first(w0);
    const p1 = t.first(w1);
    const q0 = t.second(w0, p0);
    const q1 = t.second(w1, p1);
    let l0: v128;
    let l1: v128;
    let h0: v128;
    let h1: v128;
    if (t.quick(p0, p1, p0, p1)) {
      l0 = t.quickLow(p0, q0);
      l1 = t.quickLow(p1, q1);
      h0 = t.quickHigh(p0, q0);
      h1 = t.quickHigh(p1, q1);
    } else {
      l0 = t.low(p0, q0);
      l1 = t.low(p1, q1);
      h0 = t.high(p0, q0);
      h1 = t.high(p1, q1);
    }
    let v = v128.load(x0);
    a00 = V.madd(a00, l0, v);
    a10 = V.madd(a10, l1, v);
    v = v128.load(x1);
    a01 = V.madd(a01, l0, v);
    a11 = V.madd(a11, l1, v);
    if (n > 2) {
      v = v128.load(x2);
      a02 = V.madd(a02, l0, v);
      a12 = V.madd(a12, l1, v);
    }
    if (n > 3) {
      v = v128.load(x3);
      a03 = V.madd(a03, l0, v);
      a13 = V.madd(a13, l1, v);
    }
    if (n > 4) {
      v = v128.load(x4);
      a04 = V.madd(a04, l0, v);
      a14 = V.madd(a14, l1, v);
    }
    v = v128.load(x0, 16);
    a00 = V.madd(a00, h0, v);
    a10 = V.madd(a10, h1, v);
    v = v128.load(x1, 16);
    a01 = V.madd(a01, h0, v);
    a11 = V.madd(a11, h1, v);
    if (n > 2) {
      v = v128.load(x2, 16);
      a02 = V.madd(a02, h0, v);
      a12 = V.madd(a12, h1, v);
    }
    if (n > 3) {
      v = v128.load(x3, 16);
      a03 = V.madd(a03, h0, v);
      a13 = V.madd(a13, h1, v);
    }
    if (n > 4) {
      v = v128.load(x4, 16);
      a04 = V.madd(a04, h0, v);
      a14 = V.madd(a14, h1, v);
    }
    w0 += 8 * t.bytes;
    w1 += 8 * t.bytes;
    x0 += 32;
    x1 += 32;
    if (n > 2) x2 += 32;
    if (n > 3) x3 += 32;
    if (n > 4) x4 += 32;
  }
  let s0 = V.sums(a00, a10, a00, a10);
  let s1 = V.sums(a01, a11, a01, a11);
  let s2 = n > 2 ? V.sums(a02, a12, a02, a12) : s0;
  let s3 = n > 3 ? V.sums(a03, a13, a03, a13) : s0;
  let s4 = n > 4 ? V.sums(a04, a14, a04, a14) : s0;
  const left = cols & 7;
  if (left != 0) {
    s0 = f32x4.add(s0, tails<T>(w0, w1, x0, left));
    s1 = f32x4.add(s1, tails<T>(w0, w1, x1, left));
    if (n > 2) s2 = f32x4.add(s2, tails<T>(w0, w1, x2, left));
    if (n > 3) s3 = f32x4.add(s3, tails<T>(w0, w1, x3, left));
    if (n > 4) s4 = f32x4.add(s4, tails<T>(w0, w1, x4, left));
  }
  put(y, at0, at1, s0);
  put(y + yBytes, at0, at1, s1);
  if (n > 2) put(y + 2 * yBytes, at0, at1, s2);
  if (n > 3) put(y + 3 * yBytes, at0, at1, s3);
  if (n > 4) put(y + 4 * yBytes, at0, at1, s4);
}

/** y_p[at_i] = dot(w_i, x_p) for two rows and 2 to FEW_POSITIONS positions. */
export function fewDots<T extends Codec>(
  y: usize,
  yBytes: usize,
  at0: usize,
  at1: usize,
  w0: usize,
  w1: usize,
  x: usize,
  xBytes: usize,
  cols: i32,
  positions: i32,
): void {
  if (positions > 5) {
    // 3 and 3, 4 and 3, 4 and 4, 5 and 4, 5 and 5.
    const rest = positions >> 1;
    const first = positions - rest;
    fewDots<T>(y, yBytes, at0, at1, w0, w1, x, xBytes, cols, first);
    y += <usize>first * yBytes;
    x += <usize>first * xBytes;
    fewDots<T>(y, yBytes, at0, at1, w0, w1, x, xBytes, cols, rest);
  } else if (positions == 5) {
    dots2<T, Five>(y, yBytes, at0, at1, w0, w1, x, xBytes, cols);
  } else if (positions == 4) {
    dots2<T, Four>(y, yBytes, at0, at1, w0, w1, x, xBytes, cols);
  } else if (positions == 3) {
    dots2<T, Three>(y, yBytes, at0, at1, w0, w1, x, xBytes, cols);
  } else {
    dots2<T, Two>(y, yBytes, at0, at1, w0, w1, x, xBytes, cols);
  }
}
