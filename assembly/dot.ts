/**
 * Dot products of weight rows with activations, shared by matmul and the FFN's up projection.
 *
 *     w    ptrs                    x (positions, xStride)       y (positions, yStride)
 *     [row 0 .......cols]          [x_0 ......cols]...          [y_0,0 y_0,1 ... y_0,count-1]...
 *     [row 1 .......cols]          [x_1 ......cols]...          [y_1,0 ...
 *
 * Rows lie one after the other, or anywhere: then `ptrs` lists their addresses (u32).
 *
 * Every y_p,r is summed in the same order, whatever else the call computes: four lanes take the
 * columns c = lane (mod 4) in ascending order up to cols rounded down to 8, the lanes are added as
 * (0 + 2) + (1 + 3), and the sum of the remaining columns is added last. So rows and positions may
 * be split over calls and threads in any way, and the results are the same to the bit. A row may also
 * be computed twice: if fewer than four rows, or three positions, are left, the last row, or the last
 * three positions, are computed again.
 *
 * Four rows are computed at a time, one from each quarter of them (rows.ts).
 */
import { F16_LOWER, F16_PLACED } from './constants';
import { Codec, Unpacked } from './dtype';
import { FEW_POSITIONS, fewDots } from './few-dots';
import { PackedF16 } from './packed';
import { Quarters } from './rows';
import { V } from './vector';

/** Positions per block: 4 x 3 accumulators, a weight and a product fit 16 registers. */
const POSITIONS: i32 = 3;

/** Lane i: sum of w_i[c] x[c] over the last `count` columns, one after the other. */
function tail<T extends Codec>(
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  x: usize,
  count: i32,
): v128 {
  const t = changetype<T>(0);
  let acc = f32x4.splat(0);
  for (let i = 0; i < count; i++) {
    let w = f32x4.splat(t.one(w0));
    w = f32x4.replace_lane(w, 1, t.one(w1));
    w = f32x4.replace_lane(w, 2, t.one(w2));
    w = f32x4.replace_lane(w, 3, t.one(w3));
    acc = V.madd(acc, w, v128.load_splat<f32>(x));
    w0 += t.bytes;
    w1 += t.bytes;
    w2 += t.bytes;
    w3 += t.bytes;
    x += 4;
  }
  return acc;
}

/** Lane i: dot(w_i, x). */
export function dot4<T extends Codec>(
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  x: usize,
  cols: i32,
): v128 {
  const t = changetype<T>(0);
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  for (let left = cols >> 3; left > 0; left--) {
    const p0 = t.first(w0);
    const p1 = t.first(w1);
    const p2 = t.first(w2);
    const p3 = t.first(w3);
    const q0 = t.second(w0, p0);
    const q1 = t.second(w1, p1);
    const q2 = t.second(w2, p2);
    const q3 = t.second(w3, p3);
    const xl = v128.load(x);
    const xh = v128.load(x, 16);
    if (t.quick(p0, p1, p2, p3)) {
      a0 = V.madd(V.madd(a0, t.quickLow(p0, q0), xl), t.quickHigh(p0, q0), xh);
      a1 = V.madd(V.madd(a1, t.quickLow(p1, q1), xl), t.quickHigh(p1, q1), xh);
      a2 = V.madd(V.madd(a2, t.quickLow(p2, q2), xl), t.quickHigh(p2, q2), xh);
      a3 = V.madd(V.madd(a3, t.quickLow(p3, q3), xl), t.quickHigh(p3, q3), xh);
    } else {
      a0 = V.madd(V.madd(a0, t.low(p0, q0), xl), t.high(p0, q0), xh);
      a1 = V.madd(V.madd(a1, t.low(p1, q1), xl), t.high(p1, q1), xh);
      a2 = V.madd(V.madd(a2, t.low(p2, q2), xl), t.high(p2, q2), xh);
      a3 = V.madd(V.madd(a3, t.low(p3, q3), xl), t.high(p3, q3), xh);
    }
    w0 += 8 * t.bytes;
    w1 += 8 * t.bytes;
    w2 += 8 * t.bytes;
    w3 += 8 * t.bytes;
    x += 32;
  }
  const sum = V.sums(a0, a1, a2, a3);
  const left = cols & 7;
  return left == 0 ? sum : f32x4.add(sum, tail<T>(w0, w1, w2, w3, x, left));
}

/** The same for packed f16, and the same to the bit as for f16. */
export function dot4Packed(w0: usize, w1: usize, w2: usize, w3: usize, x: usize, cols: i32): v128 {
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  // In local variables: V8 loads a global again for each use, which costs a tenth of the time here.
  const lower = F16_LOWER;
  const placed = F16_PLACED;
  for (let left = cols >> 3; left > 0; left--) {
    const xl = PackedF16.raised(v128.load(x));
    const xh = PackedF16.raised(v128.load(x, 16));
    let w = v128.load(w0);
    a0 = V.madd(
      V.madd(a0, PackedF16.placedLow(w, lower, placed), xl),
      PackedF16.placedHigh(w, placed),
      xh,
    );
    w = v128.load(w1);
    a1 = V.madd(
      V.madd(a1, PackedF16.placedLow(w, lower, placed), xl),
      PackedF16.placedHigh(w, placed),
      xh,
    );
    w = v128.load(w2);
    a2 = V.madd(
      V.madd(a2, PackedF16.placedLow(w, lower, placed), xl),
      PackedF16.placedHigh(w, placed),
      xh,
    );
    w = v128.load(w3);
    a3 = V.madd(
      V.madd(a3, PackedF16.placedLow(w, lower, placed), xl),
      PackedF16.placedHigh(w, placed),
      xh,
    );
    w0 += 16;
    w1 += 16;
    w2 += 16;
    w3 += 16;
    x += 32;
  }
  const sum = PackedF16.settled(V.sums(a0, a1, a2, a3));
  const left = cols & 7;
  return left == 0 ? sum : f32x4.add(sum, tail<PackedF16>(w0, w1, w2, w3, x, left));
}

/** y_p[at_i] = dot(w_i, x_p) for p = 0, 1, 2; `at` in bytes. */
function dot4x3<T extends Codec>(
  y0: usize,
  y1: usize,
  y2: usize,
  at0: usize,
  at1: usize,
  at2: usize,
  at3: usize,
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  x0: usize,
  x1: usize,
  x2: usize,
  cols: i32,
): void {
  const t = changetype<T>(0);
  let a00 = f32x4.splat(0);
  let a01 = f32x4.splat(0);
  let a02 = f32x4.splat(0);
  let a10 = f32x4.splat(0);
  let a11 = f32x4.splat(0);
  let a12 = f32x4.splat(0);
  let a20 = f32x4.splat(0);
  let a21 = f32x4.splat(0);
  let a22 = f32x4.splat(0);
  let a30 = f32x4.splat(0);
  let a31 = f32x4.splat(0);
  let a32 = f32x4.splat(0);
  for (let left = cols >> 3; left > 0; left--) {
    const p0 = t.first(w0);
    const q0 = t.second(w0, p0);
    let w = t.low(p0, q0);
    a00 = V.madd(a00, w, v128.load(x0));
    a01 = V.madd(a01, w, v128.load(x1));
    a02 = V.madd(a02, w, v128.load(x2));
    w = t.high(p0, q0);
    a00 = V.madd(a00, w, v128.load(x0, 16));
    a01 = V.madd(a01, w, v128.load(x1, 16));
    a02 = V.madd(a02, w, v128.load(x2, 16));
    const p1 = t.first(w1);
    const q1 = t.second(w1, p1);
    w = t.low(p1, q1);
    a10 = V.madd(a10, w, v128.load(x0));
    a11 = V.madd(a11, w, v128.load(x1));
    a12 = V.madd(a12, w, v128.load(x2));
    w = t.high(p1, q1);
    a10 = V.madd(a10, w, v128.load(x0, 16));
    a11 = V.madd(a11, w, v128.load(x1, 16));
    a12 = V.madd(a12, w, v128.load(x2, 16));
    const p2 = t.first(w2);
    const q2 = t.second(w2, p2);
    w = t.low(p2, q2);
    a20 = V.madd(a20, w, v128.load(x0));
    a21 = V.madd(a21, w, v128.load(x1));
    a22 = V.madd(a22, w, v128.load(x2));
    w = t.high(p2, q2);
    a20 = V.madd(a20, w, v128.load(x0, 16));
    a21 = V.madd(a21, w, v128.load(x1, 16));
    a22 = V.madd(a22, w, v128.load(x2, 16));
    const p3 = t.first(w3);
    const q3 = t.second(w3, p3);
    w = t.low(p3, q3);
    a30 = V.madd(a30, w, v128.load(x0));
    a31 = V.madd(a31, w, v128.load(x1));
    a32 = V.madd(a32, w, v128.load(x2));
    w = t.high(p3, q3);
    a30 = V.madd(a30, w, v128.load(x0, 16));
    a31 = V.madd(a31, w, v128.load(x1, 16));
    a32 = V.madd(a32, w, v128.load(x2, 16));
    w0 += 8 * t.bytes;
    w1 += 8 * t.bytes;
    w2 += 8 * t.bytes;
    w3 += 8 * t.bytes;
    x0 += 32;
    x1 += 32;
    x2 += 32;
  }
  let s0 = V.sums(a00, a10, a20, a30);
  let s1 = V.sums(a01, a11, a21, a31);
  let s2 = V.sums(a02, a12, a22, a32);
  const left = cols & 7;
  if (left != 0) {
    s0 = f32x4.add(s0, tail<T>(w0, w1, w2, w3, x0, left));
    s1 = f32x4.add(s1, tail<T>(w0, w1, w2, w3, x1, left));
    s2 = f32x4.add(s2, tail<T>(w0, w1, w2, w3, x2, left));
  }
  Quarters.store(y0, s0, at0, at1, at2, at3);
  Quarters.store(y1, s1, at0, at1, at2, at3);
  Quarters.store(y2, s2, at0, at1, at2, at3);
}

/** dst[0..n) = the weights src[0..n) as f32, with the values that the kernels use. */
export function unpack<T extends Codec>(dst: usize, src: usize, n: i32): void {
  const t = changetype<T>(0);
  let left = n;
  for (; left >= 8; left -= 8) {
    const a = t.first(src);
    const b = t.second(src, a);
    if (t.quick(a, a, a, a)) {
      v128.store(dst, t.quickLow(a, b));
      v128.store(dst, t.quickHigh(a, b), 16);
    } else {
      v128.store(dst, t.low(a, b));
      v128.store(dst, t.high(a, b), 16);
    }
    src += 8 * t.bytes;
    dst += 32;
  }
  for (; left > 0; left--) {
    store<f32>(dst, t.one(src));
    src += t.bytes;
    dst += 4;
  }
}

/** y_p[at_i] = dot(w_i, x_p) for all positions. */
function dots4<T extends Codec>(
  y: usize,
  x: usize,
  at0: usize,
  at1: usize,
  at2: usize,
  at3: usize,
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  cols: i32,
  positions: i32,
  xBytes: usize,
  yBytes: usize,
): void {
  for (let j = 0; j < positions; j += POSITIONS) {
    const p0 = positions < POSITIONS ? 0 : min(j, positions - POSITIONS);
    const p1 = min(p0 + 1, positions - 1);
    const p2 = min(p0 + 2, positions - 1);
    dot4x3<T>(
      y + <usize>p0 * yBytes,
      y + <usize>p1 * yBytes,
      y + <usize>p2 * yBytes,
      at0,
      at1,
      at2,
      at3,
      w0,
      w1,
      w2,
      w3,
      x + <usize>p0 * xBytes,
      x + <usize>p1 * xBytes,
      x + <usize>p2 * xBytes,
      cols,
    );
  }
}

/**
 * y_p[r] = dot(w_r, x_p) for r in [0, count), p in [0, positions). Rows lie `w` bytes
 * beyond the addresses in `ptrs`; without `ptrs`, one after the other from `w` on.
 * `scratch`, if not 0, is 4 x cols f32 where the rows are unpacked once for all positions.
 */
export function dots<T extends Codec>(
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
): void {
  const t = changetype<T>(0);
  const rowBytes = <usize>cols * t.bytes;
  const unpacked = scratch != 0 && positions >= t.unpackFrom;
  const quarter = Quarters.rows(count);
  for (let i = 0; i < quarter; i++) {
    const r1 = min(i + quarter, count - 1);
    const r2 = min(i + 2 * quarter, count - 1);
    const r3 = min(i + 3 * quarter, count - 1);
    const at0 = (<usize>i) << 2;
    const at1 = (<usize>r1) << 2;
    const at2 = (<usize>r2) << 2;
    const at3 = (<usize>r3) << 2;
    const w0 = Quarters.row(w, ptrs, rowBytes, i);
    const w1 = Quarters.row(w, ptrs, rowBytes, r1);
    const w2 = Quarters.row(w, ptrs, rowBytes, r2);
    const w3 = Quarters.row(w, ptrs, rowBytes, r3);
    if (positions > 1 && positions <= FEW_POSITIONS) {
      const xBytes = xStride << 2;
      const yBytes = yStride << 2;
      fewDots<T>(y, yBytes, at0, at1, w0, w1, x, xBytes, cols, positions);
      fewDots<T>(y, yBytes, at2, at3, w2, w3, x, xBytes, cols, positions);
    } else if (positions == 1) {
      const sums = t.packed
        ? dot4Packed(w0, w1, w2, w3, x, cols)
        : dot4<T>(w0, w1, w2, w3, x, cols);
      Quarters.store(y, sums, at0, at1, at2, at3);
    } else if (unpacked) {
      const f0 = scratch;
      const f1 = f0 + ((<usize>cols) << 2);
      const f2 = f1 + ((<usize>cols) << 2);
      const f3 = f2 + ((<usize>cols) << 2);
      unpack<T>(f0, w0, cols);
      unpack<T>(f1, w1, cols);
      unpack<T>(f2, w2, cols);
      unpack<T>(f3, w3, cols);
      dots4<Unpacked>(
        y,
        x,
        at0,
        at1,
        at2,
        at3,
        f0,
        f1,
        f2,
        f3,
        cols,
        positions,
        xStride << 2,
        yStride << 2,
      );
    } else {
      dots4<T>(
        y,
        x,
        at0,
        at1,
        at2,
        at3,
        w0,
        w1,
        w2,
        w3,
        cols,
        positions,
        xStride << 2,
        yStride << 2,
      );
    }
  }
}
