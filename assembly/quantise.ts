/**
 * Quantises rows of weights to the formats of block.ts, and dequantises them.
 *
 * q8: the scale is the largest magnitude / 127, rounded to bf16 (to nearest: the resulting error of the
 * largest weight is less than the half step by which any weight may be off).
 *
 * q4: for each block, the code searches the scale with the smallest squared error. The weight of largest
 * magnitude becomes about -8, since the integers reach further down than up. The search tries scales for
 * which it would be -7 to -8.5, and then the scale that best fits the best of these integers. On normally
 * distributed weights that leaves an error of 8.1% of their deviation; -8 alone leaves 8.6%, largest / 7
 * leaves 9.7%, and the optimum is 8.08%.
 */
import { BLOCK, BlockCodec } from './block';
import { BF16_BITS, NIBBLE, Q4_LEAST, Q4_MOST } from './constants';
import { V } from './vector';

/** A block whose weights are all smaller than this becomes 0: 2^-100. */
const WEIGHT_MIN: f32 = 7.888609052210118e-31;

/** Scales tried for q4: largest / -(FIRST + i STEP) for i < COUNT. */
const FIRST: f32 = 7;
const STEP: f32 = 0.21428572;
const COUNT: i32 = 8;

/** Quantises the n weights at `x` to the block at `dst`. */
@unmanaged
export abstract class Maker {
  abstract make(dst: usize, x: usize, n: i32): void;
}

abstract class Quantise {
  /** The value in the upper half of a binary32, to nearest, ties to even. */
  @inline static toBF16(value: f32): f32 {
    const bits = reinterpret<u32>(value);
    return reinterpret<f32>((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000);
  }
  /** Eight integers nearest to x / scale, from the c-th of n weights on; 0 beyond n. */
  @inline static eight(x: usize, c: i32, n: i32, inverse: v128): v128 {
    const at = x + ((<usize>c) << 2);
    const low = f32x4.nearest(f32x4.mul(V.loadLanes(at, n - c), inverse));
    const high = f32x4.nearest(f32x4.mul(V.loadLanes(at + 16, n - c - 4), inverse));
    return i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(low), i32x4.trunc_sat_f32x4_s(high));
  }
  @inline static clamp4(q: v128): v128 {
    return i16x8.min_s(i16x8.max_s(q, i16x8.splat(-8)), i16x8.splat(7));
  }
  /** Sum of the products of 32 pairs. */
  @inline static dot(
    a0: v128,
    a1: v128,
    a2: v128,
    a3: v128,
    a4: v128,
    a5: v128,
    a6: v128,
    a7: v128,
    b0: v128,
    b1: v128,
    b2: v128,
    b3: v128,
    b4: v128,
    b5: v128,
    b6: v128,
    b7: v128,
  ): f32 {
    const c0 = f32x4.add(f32x4.mul(a0, b0), f32x4.mul(a1, b1));
    const c1 = f32x4.add(f32x4.mul(a2, b2), f32x4.mul(a3, b3));
    const c2 = f32x4.add(f32x4.mul(a4, b4), f32x4.mul(a5, b5));
    const c3 = f32x4.add(f32x4.mul(a6, b6), f32x4.mul(a7, b7));
    return V.sum(f32x4.add(f32x4.add(c0, c1), f32x4.add(c2, c3)));
  }
  /** Sum of the squared errors of q4 with this scale. */
  @inline static error4(
    v0: v128,
    v1: v128,
    v2: v128,
    v3: v128,
    v4: v128,
    v5: v128,
    v6: v128,
    v7: v128,
    scale: f32,
  ): f32 {
    const s = f32x4.splat(scale);
    const i = f32x4.splat(1 / scale);
    const e0 = f32x4.sub(v0, f32x4.mul(s, Quantise.four4(v0, i)));
    const e1 = f32x4.sub(v1, f32x4.mul(s, Quantise.four4(v1, i)));
    const e2 = f32x4.sub(v2, f32x4.mul(s, Quantise.four4(v2, i)));
    const e3 = f32x4.sub(v3, f32x4.mul(s, Quantise.four4(v3, i)));
    const e4 = f32x4.sub(v4, f32x4.mul(s, Quantise.four4(v4, i)));
    const e5 = f32x4.sub(v5, f32x4.mul(s, Quantise.four4(v5, i)));
    const e6 = f32x4.sub(v6, f32x4.mul(s, Quantise.four4(v6, i)));
    const e7 = f32x4.sub(v7, f32x4.mul(s, Quantise.four4(v7, i)));
    return Quantise.dot(e0, e1, e2, e3, e4, e5, e6, e7, e0, e1, e2, e3, e4, e5, e6, e7);
  }
  /** Four integers of q4, as f32. */
  @inline static four4(v: v128, inverse: v128): v128 {
    const q = f32x4.nearest(f32x4.mul(v, inverse));
    return f32x4.pmin(Q4_MOST, f32x4.pmax(Q4_LEAST, q));
  }
}

/** The weight of largest magnitude, with its sign. */
function largest(x: usize, n: i32): f32 {
  let low = f32x4.splat(0);
  let high = f32x4.splat(0);
  for (let c = 0; c < n; c += 4) {
    const v = V.loadLanes(x + ((<usize>c) << 2), n - c);
    // The faster minimum and maximum suffice, as the weights are finite and zeros may have any sign.
    low = f32x4.pmin(low, v);
    high = f32x4.pmax(high, v);
  }
  low = f32x4.pmin(low, i32x4.shuffle(low, low, 2, 3, 0, 1));
  high = f32x4.pmax(high, i32x4.shuffle(high, high, 2, 3, 0, 1));
  const bottom = min(f32x4.extract_lane(low, 0), f32x4.extract_lane(low, 1));
  const top = max(f32x4.extract_lane(high, 0), f32x4.extract_lane(high, 1));
  return -bottom > top ? bottom : top;
}

/**
 * The scale for the n weights at x, of which `top` is the largest. Errors are in units of the step
 * for -8, so that their squares neither vanish nor overflow; the block stays in registers.
 */
function scale4(x: usize, n: i32, top: f32): f32 {
  const unit = Quantise.toBF16(top / -8);
  const perUnit: f32 = 1 / unit;
  const u = f32x4.splat(perUnit);
  const v0 = f32x4.mul(V.loadLanes(x, n), u);
  const v1 = f32x4.mul(V.loadLanes(x + 16, n - 4), u);
  const v2 = f32x4.mul(V.loadLanes(x + 32, n - 8), u);
  const v3 = f32x4.mul(V.loadLanes(x + 48, n - 12), u);
  const v4 = f32x4.mul(V.loadLanes(x + 64, n - 16), u);
  const v5 = f32x4.mul(V.loadLanes(x + 80, n - 20), u);
  const v6 = f32x4.mul(V.loadLanes(x + 96, n - 24), u);
  const v7 = f32x4.mul(V.loadLanes(x + 112, n - 28), u);
  // Errors are not negative, so their bits have the order of their values: the code selects integers
  // without a branch, which would be unpredictable.
  let bestBits = reinterpret<u32>(<f32>1);
  let leastBits = reinterpret<u32>(Infinity as f32);
  for (let i = 0; i < COUNT; i++) {
    // The integers must fit the rounded scale that is stored.
    const scale = Quantise.toBF16(unit * (<f32>8 / (FIRST + <f32>i * STEP))) * perUnit;
    const error = Quantise.error4(v0, v1, v2, v3, v4, v5, v6, v7, scale);
    const errorBits = reinterpret<u32>(error);
    bestBits = select<u32>(reinterpret<u32>(scale), bestBits, errorBits < leastBits);
    leastBits = select<u32>(errorBits, leastBits, errorBits < leastBits);
  }
  const best = reinterpret<f32>(bestBits);
  const least = reinterpret<f32>(leastBits);
  const i = f32x4.splat(1 / best);
  const q0 = Quantise.four4(v0, i);
  const q1 = Quantise.four4(v1, i);
  const q2 = Quantise.four4(v2, i);
  const q3 = Quantise.four4(v3, i);
  const q4 = Quantise.four4(v4, i);
  const q5 = Quantise.four4(v5, i);
  const q6 = Quantise.four4(v6, i);
  const q7 = Quantise.four4(v7, i);
  const qx = Quantise.dot(q0, q1, q2, q3, q4, q5, q6, q7, v0, v1, v2, v3, v4, v5, v6, v7);
  const qq = Quantise.dot(q0, q1, q2, q3, q4, q5, q6, q7, q0, q1, q2, q3, q4, q5, q6, q7);
  const fitted = Quantise.toBF16(unit * (qx / qq)) * perUnit;
  const error = Quantise.error4(v0, v1, v2, v3, v4, v5, v6, v7, fitted);
  return Quantise.toBF16(unit * (error < least ? fitted : best));
}

@unmanaged
export class MakeQ8 extends Maker {
  @inline override make(dst: usize, x: usize, n: i32): void {
    const top = abs(largest(x, n));
    const scale = top < WEIGHT_MIN ? <f32>0 : Quantise.toBF16(top / 127);
    const inverse = f32x4.splat(scale == 0 ? <f32>0 : 1 / scale);
    for (let c = 0; c < BLOCK; c += 16) {
      const low = Quantise.eight(x, c, n, inverse);
      const high = Quantise.eight(x, c + 8, n, inverse);
      v128.store(dst + <usize>c, i8x16.narrow_i16x8_s(low, high));
    }
    store<u16>(dst, <u16>(reinterpret<u32>(scale) >>> 16), 32);
  }
}

@unmanaged
export class MakeQ4 extends Maker {
  @inline override make(dst: usize, x: usize, n: i32): void {
    const top = largest(x, n);
    const scale = abs(top) < WEIGHT_MIN ? <f32>0 : scale4(x, n, top);
    const inverse = f32x4.splat(scale == 0 ? <f32>0 : 1 / scale);
    const nibble = i16x8.splat(15);
    const q0 = v128.and(Quantise.clamp4(Quantise.eight(x, 0, n, inverse)), nibble);
    const q1 = v128.and(Quantise.clamp4(Quantise.eight(x, 8, n, inverse)), nibble);
    const q2 = v128.and(Quantise.clamp4(Quantise.eight(x, 16, n, inverse)), nibble);
    const q3 = v128.and(Quantise.clamp4(Quantise.eight(x, 24, n, inverse)), nibble);
    const low = v128.or(q0, i16x8.shl(q1, 4));
    const high = v128.or(i16x8.shl(q2, 8), i16x8.shl(q3, 12));
    v128.store(dst, v128.or(low, high));
    store<u16>(dst, <u16>(reinterpret<u32>(scale) >>> 16), 16);
  }
}

/** Quantises the row of n f32 at src to blocks at dst. */
export function f32ToBlocks<T extends BlockCodec, M extends Maker>(
  dst: usize,
  src: usize,
  n: i32,
): void {
  for (; n > 0; n -= BLOCK) {
    changetype<M>(0).make(dst, src, min(n, BLOCK));
    dst += changetype<T>(0).bytes;
    src += BLOCK << 2;
  }
}

/** Dequantises the row of n weights in the blocks at src to f32 at dst. */
export function blocksToF32<T extends BlockCodec>(dst: usize, src: usize, n: i32): void {
  const t = changetype<T>(0);
  const nibble = NIBBLE;
  const upper = BF16_BITS;
  for (; n > 0; n -= BLOCK) {
    const s = f32x4.mul(t.scale(src, upper), f32x4.splat(t.unit));
    if (n >= BLOCK) {
      const o = t.open(src);
      v128.store(dst, f32x4.mul(s, t.low(src, o, 0, nibble)));
      v128.store(dst, f32x4.mul(s, t.high(src, o, 0, nibble)), 16);
      v128.store(dst, f32x4.mul(s, t.low(src, o, 1, nibble)), 32);
      v128.store(dst, f32x4.mul(s, t.high(src, o, 1, nibble)), 48);
      v128.store(dst, f32x4.mul(s, t.low(src, o, 2, nibble)), 64);
      v128.store(dst, f32x4.mul(s, t.high(src, o, 2, nibble)), 80);
      v128.store(dst, f32x4.mul(s, t.low(src, o, 3, nibble)), 96);
      v128.store(dst, f32x4.mul(s, t.high(src, o, 3, nibble)), 112);
    } else {
      for (let i = 0; i < n; i++) {
        store<f32>(dst + ((<usize>i) << 2), f32x4.extract_lane(s, 0) * t.one(src, i));
      }
    }
    src += t.bytes;
    dst += BLOCK << 2;
  }
}

/** Index of the first of n weights whose block's scale is NaN or infinite, or -1. */
export function firstNonFiniteBlock<T extends BlockCodec>(src: usize, n: i32): i32 {
  const t = changetype<T>(0);
  const upper = BF16_BITS;
  const exponent = 0x7f800000;
  for (let i = 0; i < n; i += BLOCK) {
    if ((i32x4.extract_lane(t.scale(src, upper), 0) & exponent) == exponent) return i;
    src += t.bytes;
  }
  return -1;
}
