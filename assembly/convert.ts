/**
 * Conversion of weights between formats and layouts: to and from f32, the search for values that are
 * not finite, and copies and transpositions between strided rows.
 */
import { F16_SPECIAL, F32_EXPONENT, F32_MAGNITUDE } from './constants';
import { F16 } from './dtype';

/** Converts four 16-bit values, sign-extended to 32 bits, to f32. */
@unmanaged
export abstract class Widening {
  abstract of(h: v128): v128;
  /** The exponent bits, which are all ones in values that are not finite. */
  abstract get exponent(): i32;
}

/** From binary16, infinities and NaNs included: an exponent of all ones stays one. */
@unmanaged
export class FromF16 extends Widening {
  @inline override of(h: v128): v128 {
    const widened = F16.widen(h);
    // The exponent of infinities and NaNs has become 16; nothing finite reaches it.
    const special = i32x4.ge_s(v128.and(widened, F32_MAGNITUDE), F16_SPECIAL);
    return v128.or(widened, v128.and(special, F32_EXPONENT));
  }
  @inline override get exponent(): i32 {
    return 0x7c00;
  }
}

@unmanaged
export class FromBF16 extends Widening {
  @inline override of(h: v128): v128 {
    return i32x4.shl(h, 16);
  }
  @inline override get exponent(): i32 {
    return 0x7f80;
  }
}

/** dst[0..n) = src[0..n), both f32. */
export function copyF32(dst: usize, src: usize, n: i32): void {
  memory.copy(dst, src, (<usize>n) << 2);
}

/** dst[0..n) = 16-bit src[0..n) as f32. */
export function toF32<W extends Widening>(dst: usize, src: usize, n: i32): void {
  const widen = changetype<W>(0);
  let left = n;
  for (; left >= 8; left -= 8) {
    const h = v128.load(src);
    v128.store(dst, widen.of(i32x4.extend_low_i16x8_s(h)));
    v128.store(dst, widen.of(i32x4.extend_high_i16x8_s(h)), 16);
    src += 16;
    dst += 32;
  }
  for (; left > 0; left--) {
    v128.store_lane<f32>(dst, widen.of(i32x4.splat(load<i16>(src))), 0);
    src += 2;
    dst += 4;
  }
}

/** Converts four f32 to 16-bit values, sign-extended to 32 bits; to nearest, ties to even. */
@unmanaged
export abstract class Narrowing {
  abstract of(f: v128): v128;
}

/** To binary16, after Fabian Giesen's float_to_half_fast3_rtne. From 65520 on: infinity. */
@unmanaged
export class ToF16 extends Narrowing {
  @inline override of(f: v128): v128 {
    const magnitude = v128.and(f, i32x4.splat(0x7fffffff));
    const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
    const rounded = i32x4.add(magnitude, i32x4.add(odd, i32x4.splat(0xfff - (112 << 23))));
    const normal = i32x4.shr_u(rounded, 13);
    // Adding 1/2 leaves a multiple of 2^-24, the smallest binary16, in the mantissa, rightly rounded.
    const half = f32x4.splat(0.5);
    const denormal = i32x4.sub(f32x4.add(magnitude, half), half);
    const nan = i32x4.gt_s(magnitude, i32x4.splat(0x7f800000));
    const special = v128.or(i32x4.splat(0x7c00), v128.and(nan, i32x4.splat(0x200)));
    const isDenormal = i32x4.lt_s(magnitude, i32x4.splat(113 << 23));
    const isSpecial = i32x4.ge_s(magnitude, i32x4.splat(143 << 23));
    const finite = v128.bitselect(denormal, normal, isDenormal);
    const sign = v128.and(i32x4.shr_s(f, 16), i32x4.splat(0xffff8000));
    return v128.or(v128.bitselect(special, finite, isSpecial), sign);
  }
}

/** To bfloat16. A NaN becomes quiet, since truncation could remove its whole payload. */
@unmanaged
export class ToBF16 extends Narrowing {
  @inline override of(f: v128): v128 {
    const odd = v128.and(i32x4.shr_u(f, 16), i32x4.splat(1));
    const rounded = i32x4.add(f, i32x4.add(odd, i32x4.splat(0x7fff)));
    const quiet = v128.or(f, i32x4.splat(0x400000));
    return i32x4.shr_s(v128.bitselect(quiet, rounded, f32x4.ne(f, f)), 16);
  }
}

/** dst[0..n) = f32 src[0..n) as 16-bit values. */
export function fromF32<N extends Narrowing>(dst: usize, src: usize, n: i32): void {
  const narrow = changetype<N>(0);
  let left = n;
  for (; left >= 8; left -= 8) {
    const low = narrow.of(v128.load(src));
    const high = narrow.of(v128.load(src, 16));
    v128.store(dst, i16x8.narrow_i32x4_s(low, high));
    src += 32;
    dst += 16;
  }
  for (; left > 0; left--) {
    v128.store_lane<u16>(dst, narrow.of(v128.load_splat<f32>(src)), 0);
    src += 4;
    dst += 2;
  }
}

/** Index of the first element whose exponent bits are all ones, or -1. Elements of 16 bits. */
export function firstNonFinite16<W extends Widening>(src: usize, n: i32): i32 {
  const exponent = changetype<W>(0).exponent;
  const e = i16x8.splat(<i16>exponent);
  let i = 0;
  for (; i + 32 <= n; i += 32) {
    const at = src + ((<usize>i) << 1);
    const a = i16x8.eq(v128.and(v128.load(at), e), e);
    const b = i16x8.eq(v128.and(v128.load(at, 16), e), e);
    const c = i16x8.eq(v128.and(v128.load(at, 32), e), e);
    const d = i16x8.eq(v128.and(v128.load(at, 48), e), e);
    if (v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) break;
  }
  for (; i < n; i++) {
    if ((load<u16>(src + ((<usize>i) << 1)) & exponent) == exponent) return i;
  }
  return -1;
}

/** The same for f32. */
export function firstNonFinite32(src: usize, n: i32): i32 {
  const exponent = 0x7f800000;
  const e = i32x4.splat(exponent);
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    const at = src + ((<usize>i) << 2);
    const a = i32x4.eq(v128.and(v128.load(at), e), e);
    const b = i32x4.eq(v128.and(v128.load(at, 16), e), e);
    const c = i32x4.eq(v128.and(v128.load(at, 32), e), e);
    const d = i32x4.eq(v128.and(v128.load(at, 48), e), e);
    if (v128.any_true(v128.or(v128.or(a, b), v128.or(c, d)))) break;
  }
  for (; i < n; i++) {
    if ((load<i32>(src + ((<usize>i) << 2)) & exponent) == exponent) return i;
  }
  return -1;
}

/** Copies `rows` rows of `rowBytes` each between strided places. */
export function copyRows(
  dst: usize,
  src: usize,
  rows: i32,
  rowBytes: usize,
  srcStrideBytes: usize,
  dstStrideBytes: usize,
): void {
  for (let r = 0; r < rows; r++) {
    memory.copy(dst, src, rowBytes);
    dst += dstStrideBytes;
    src += srcStrideBytes;
  }
}

/** Rows and columns of the square that one step transposes: a cache line of 16-bit elements. */
const TILE: i32 = 32;

/**
 * Transposes (rows, cols) of 16-bit elements: element c of source row r, at r srcStrideBytes + 2 c,
 * becomes element r of destination row c, at c dstStrideBytes + 2 r.
 */
export function transpose16(
  dst: usize,
  src: usize,
  rows: i32,
  cols: i32,
  srcStrideBytes: usize,
  dstStrideBytes: usize,
): void {
  for (let c0 = 0; c0 < cols; c0 += TILE) {
    const c1 = min(c0 + TILE, cols);
    for (let r0 = 0; r0 < rows; r0 += TILE) {
      const r1 = min(r0 + TILE, rows);
      let c = c0;
      for (; c + 8 <= c1; c += 8) {
        let r = r0;
        for (; r + 8 <= r1; r += 8) {
          square8(
            dst + <usize>c * dstStrideBytes + ((<usize>r) << 1),
            src + <usize>r * srcStrideBytes + ((<usize>c) << 1),
            srcStrideBytes,
            dstStrideBytes,
          );
        }
        cells<u16>(dst, src, r, r1, c, c + 8, srcStrideBytes, dstStrideBytes);
      }
      cells<u16>(dst, src, r0, r1, c, c1, srcStrideBytes, dstStrideBytes);
    }
  }
}

/** The same for 32-bit elements. */
export function transpose32(
  dst: usize,
  src: usize,
  rows: i32,
  cols: i32,
  srcStrideBytes: usize,
  dstStrideBytes: usize,
): void {
  for (let c0 = 0; c0 < cols; c0 += TILE) {
    const c1 = min(c0 + TILE, cols);
    for (let r0 = 0; r0 < rows; r0 += TILE) {
      const r1 = min(r0 + TILE, rows);
      let c = c0;
      for (; c + 4 <= c1; c += 4) {
        let r = r0;
        for (; r + 4 <= r1; r += 4) {
          square4(
            dst + <usize>c * dstStrideBytes + ((<usize>r) << 2),
            src + <usize>r * srcStrideBytes + ((<usize>c) << 2),
            srcStrideBytes,
            dstStrideBytes,
          );
        }
        cells<u32>(dst, src, r, r1, c, c + 4, srcStrideBytes, dstStrideBytes);
      }
      cells<u32>(dst, src, r0, r1, c, c1, srcStrideBytes, dstStrideBytes);
    }
  }
}

/** Elements that the squares do not cover: rows [r0, r1) and columns [c0, c1), one by one. */
function cells<E>(
  dst: usize,
  src: usize,
  r0: i32,
  r1: i32,
  c0: i32,
  c1: i32,
  srcStrideBytes: usize,
  dstStrideBytes: usize,
): void {
  for (let c = c0; c < c1; c++) {
    const to = dst + <usize>c * dstStrideBytes;
    const from = src + <usize>c * sizeof<E>();
    for (let r = r0; r < r1; r++) {
      store<E>(to + <usize>r * sizeof<E>(), load<E>(from + <usize>r * srcStrideBytes));
    }
  }
}

/** 8 x 8 elements of 16 bits: pairs, then fours, then eights are brought together. */
function square8(dst: usize, src: usize, srcStride: usize, dstStride: usize): void {
  const a0 = v128.load(src);
  const a1 = v128.load((src += srcStride));
  const a2 = v128.load((src += srcStride));
  const a3 = v128.load((src += srcStride));
  const a4 = v128.load((src += srcStride));
  const a5 = v128.load((src += srcStride));
  const a6 = v128.load((src += srcStride));
  const a7 = v128.load(src + srcStride);
  const b0 = i16x8.shuffle(a0, a1, 0, 8, 1, 9, 2, 10, 3, 11);
  const b1 = i16x8.shuffle(a2, a3, 0, 8, 1, 9, 2, 10, 3, 11);
  const b2 = i16x8.shuffle(a4, a5, 0, 8, 1, 9, 2, 10, 3, 11);
  const b3 = i16x8.shuffle(a6, a7, 0, 8, 1, 9, 2, 10, 3, 11);
  const b4 = i16x8.shuffle(a0, a1, 4, 12, 5, 13, 6, 14, 7, 15);
  const b5 = i16x8.shuffle(a2, a3, 4, 12, 5, 13, 6, 14, 7, 15);
  const b6 = i16x8.shuffle(a4, a5, 4, 12, 5, 13, 6, 14, 7, 15);
  const b7 = i16x8.shuffle(a6, a7, 4, 12, 5, 13, 6, 14, 7, 15);
  const c0 = i32x4.shuffle(b0, b1, 0, 4, 1, 5);
  const c1 = i32x4.shuffle(b2, b3, 0, 4, 1, 5);
  const c2 = i32x4.shuffle(b0, b1, 2, 6, 3, 7);
  const c3 = i32x4.shuffle(b2, b3, 2, 6, 3, 7);
  const c4 = i32x4.shuffle(b4, b5, 0, 4, 1, 5);
  const c5 = i32x4.shuffle(b6, b7, 0, 4, 1, 5);
  const c6 = i32x4.shuffle(b4, b5, 2, 6, 3, 7);
  const c7 = i32x4.shuffle(b6, b7, 2, 6, 3, 7);
  v128.store(dst, i64x2.shuffle(c0, c1, 0, 2));
  v128.store((dst += dstStride), i64x2.shuffle(c0, c1, 1, 3));
  v128.store((dst += dstStride), i64x2.shuffle(c2, c3, 0, 2));
  v128.store((dst += dstStride), i64x2.shuffle(c2, c3, 1, 3));
  v128.store((dst += dstStride), i64x2.shuffle(c4, c5, 0, 2));
  v128.store((dst += dstStride), i64x2.shuffle(c4, c5, 1, 3));
  v128.store((dst += dstStride), i64x2.shuffle(c6, c7, 0, 2));
  v128.store(dst + dstStride, i64x2.shuffle(c6, c7, 1, 3));
}

/** 4 x 4 elements of 32 bits. */
function square4(dst: usize, src: usize, srcStride: usize, dstStride: usize): void {
  const a0 = v128.load(src);
  const a1 = v128.load((src += srcStride));
  const a2 = v128.load((src += srcStride));
  const a3 = v128.load(src + srcStride);
  const b0 = i32x4.shuffle(a0, a1, 0, 4, 1, 5);
  const b1 = i32x4.shuffle(a2, a3, 0, 4, 1, 5);
  const b2 = i32x4.shuffle(a0, a1, 2, 6, 3, 7);
  const b3 = i32x4.shuffle(a2, a3, 2, 6, 3, 7);
  v128.store(dst, i64x2.shuffle(b0, b1, 0, 2));
  v128.store((dst += dstStride), i64x2.shuffle(b0, b1, 1, 3));
  v128.store((dst += dstStride), i64x2.shuffle(b2, b3, 0, 2));
  v128.store(dst + dstStride, i64x2.shuffle(b2, b3, 1, 3));
}

/**
 * Sum of `bytes` (a multiple of 256) as 32-bit numbers, to measure how fast this machine reads memory: in
 * four streams, as the matrix kernels read, which processors prefetch better than one.
 */
export function readSum(src: usize, bytes: usize): i32 {
  const part = bytes >> 2;
  let a = i32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (let left = part; left >= 64; left -= 64) {
    a = i32x4.add(a, i32x4.add(v128.load(src), v128.load(src, 16)));
    a = i32x4.add(a, i32x4.add(v128.load(src, 32), v128.load(src, 48)));
    const second = src + part;
    b = i32x4.add(b, i32x4.add(v128.load(second), v128.load(second, 16)));
    b = i32x4.add(b, i32x4.add(v128.load(second, 32), v128.load(second, 48)));
    const third = second + part;
    c = i32x4.add(c, i32x4.add(v128.load(third), v128.load(third, 16)));
    c = i32x4.add(c, i32x4.add(v128.load(third, 32), v128.load(third, 48)));
    const fourth = third + part;
    d = i32x4.add(d, i32x4.add(v128.load(fourth), v128.load(fourth, 16)));
    d = i32x4.add(d, i32x4.add(v128.load(fourth, 32), v128.load(fourth, 48)));
    src += 64;
  }
  a = i32x4.add(i32x4.add(a, b), i32x4.add(c, d));
  a = i32x4.add(a, i64x2.shuffle(a, a, 1, 0));
  return i32x4.extract_lane(a, 0) + i32x4.extract_lane(a, 1);
}
