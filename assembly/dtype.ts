/**
 * The number formats of weights, one class each, which turn eight consecutive weights into two
 * vectors of four f32. The classes are never instantiated; `changetype<T>(0)` is a null pointer of
 * that type, so that every call on it is resolved, and inlined, at compile time.
 *
 * Weights that are denormal as f32 (below 1.2e-38) are taken for 0: processors multiply denormals up
 * to 100 times slower, and they do not affect a sum with ordinary values. Conversions (convert.ts)
 * keep them.
 *
 * Adding a format: one class here, or in block.ts, a row in src/dtype.ts, and its entries in
 * src/kernels/format-kernel-table.ts.
 */

import {
  BF16_EXPONENT,
  F16_BITS,
  F16_DENORMALS,
  F16_EXPONENT,
  F16_MAGNITUDE,
  F16_MIN_NORMAL,
  F16_PLACED,
  F16_REBIAS,
  F16_REBIAS_DENORMAL,
  F16_UNBIASED,
  F32_EXPONENT,
  F32_SIGN,
} from './constants';
import { BF16_BLOCK_BYTES, F16_BLOCK_BYTES, F32_BLOCK_BYTES } from './exports/shared-constants';

/** Eight weights are held in two vectors `a` and `b`, which are the same for 16-bit formats. */
@unmanaged
export abstract class Codec {
  /** Bytes of one weight. */
  abstract get bytes(): usize;
  /** From this many positions on, it is faster to unpack a dot product's rows to f32 first. */
  abstract get unpackFrom(): i32;
  /** Whether `dot4Packed` supports the format. */
  abstract get packed(): bool;
  /** First vector of the eight weights at `ptr`. */
  abstract first(ptr: usize): v128;
  /** Second vector of them, given the first. */
  abstract second(ptr: usize, a: v128): v128;
  /** Weights 0 to 3 as f32. */
  abstract low(a: v128, b: v128): v128;
  /** Weights 4 to 7 as f32. */
  abstract high(a: v128, b: v128): v128;
  /** The single weight at `ptr` as f32. */
  abstract one(ptr: usize): f32;
  /** Whether `quickLow` and `quickHigh` are correct for the weights of all four, as is mostly the case. */
  abstract quick(a0: v128, a1: v128, a2: v128, a3: v128): bool;
  abstract quickLow(a: v128, b: v128): v128;
  abstract quickHigh(a: v128, b: v128): v128;
}

/** IEEE binary32. */
@unmanaged
export class F32 extends Codec {
  @inline override get bytes(): usize {
    return F32_BLOCK_BYTES;
  }
  @inline override get unpackFrom(): i32 {
    return 16;
  }
  @inline override get packed(): bool {
    return false;
  }
  @inline override first(ptr: usize): v128 {
    return F32.tame(v128.load(ptr));
  }
  @inline override second(ptr: usize, _a: v128): v128 {
    return F32.tame(v128.load(ptr, 16));
  }
  @inline override low(a: v128, _b: v128): v128 {
    return a;
  }
  @inline override high(_a: v128, b: v128): v128 {
    return b;
  }
  @inline override one(ptr: usize): f32 {
    return f32x4.extract_lane(F32.tame(v128.load_splat<f32>(ptr)), 0);
  }
  @inline override quick(_a0: v128, _a1: v128, _a2: v128, _a3: v128): bool {
    return true;
  }
  @inline override quickLow(a: v128, b: v128): v128 {
    return this.low(a, b);
  }
  @inline override quickHigh(a: v128, b: v128): v128 {
    return this.high(a, b);
  }

  @inline static tame(v: v128): v128 {
    const exponent = v128.and(v, F32_EXPONENT);
    return v128.andnot(v, i32x4.eq(exponent, i32x4.splat(0)));
  }
}

/** f32 written by the kernels themselves: unpacked weights, keys and values. */
@unmanaged
export class Unpacked extends Codec {
  @inline override get bytes(): usize {
    return F32_BLOCK_BYTES;
  }
  @inline override get unpackFrom(): i32 {
    return i32.MAX_VALUE;
  }
  @inline override get packed(): bool {
    return false;
  }
  @inline override first(ptr: usize): v128 {
    return v128.load(ptr);
  }
  @inline override second(ptr: usize, _a: v128): v128 {
    return v128.load(ptr, 16);
  }
  @inline override low(a: v128, _b: v128): v128 {
    return a;
  }
  @inline override high(_a: v128, b: v128): v128 {
    return b;
  }
  @inline override one(ptr: usize): f32 {
    return load<f32>(ptr);
  }
  @inline override quick(_a0: v128, _a1: v128, _a2: v128, _a3: v128): bool {
    return true;
  }
  @inline override quickLow(a: v128, b: v128): v128 {
    return this.low(a, b);
  }
  @inline override quickHigh(a: v128, b: v128): v128 {
    return this.high(a, b);
  }
}

/** bfloat16: the upper half of a binary32. */
@unmanaged
export class BF16 extends Codec {
  @inline override get bytes(): usize {
    return BF16_BLOCK_BYTES;
  }
  @inline override get unpackFrom(): i32 {
    return 16;
  }
  @inline override get packed(): bool {
    return false;
  }
  @inline override first(ptr: usize): v128 {
    return BF16.tame(v128.load(ptr));
  }
  @inline override second(_ptr: usize, a: v128): v128 {
    return a;
  }
  @inline override low(a: v128, _b: v128): v128 {
    return i16x8.shuffle(i16x8.splat(0), a, 0, 8, 1, 9, 2, 10, 3, 11);
  }
  @inline override high(a: v128, _b: v128): v128 {
    return i16x8.shuffle(i16x8.splat(0), a, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  @inline override one(ptr: usize): f32 {
    const a = BF16.tame(v128.load_splat<u16>(ptr));
    return f32x4.extract_lane(this.low(a, a), 0);
  }
  @inline override quick(_a0: v128, _a1: v128, _a2: v128, _a3: v128): bool {
    return true;
  }
  @inline override quickLow(a: v128, b: v128): v128 {
    return this.low(a, b);
  }
  @inline override quickHigh(a: v128, b: v128): v128 {
    return this.high(a, b);
  }

  @inline static tame(v: v128): v128 {
    const exponent = v128.and(v, BF16_EXPONENT);
    return v128.andnot(v, i16x8.eq(exponent, i16x8.splat(0)));
  }
}

/**
 * IEEE binary16, finite values only.
 *
 *     s eeeee mmmmmmmmmm            binary16, exponent bias 15
 *     s 000eeeee mmmmmmmmmm 0...0   shifted left by 13 (the sign kept apart)
 *
 * Adding 127 - 15 = 112 to the exponent field makes that the right binary32, but for e = 0, where
 * there is no hidden one: adding 113 gives 2^-14 (1 + m/1024), from which 2^-14 is subtracted.
 * The first value is right for e > 0 and too large for e = 0, the second the other way round:
 * the smaller of the two is right, and no denormal binary32 ever arises.
 *
 * Denormal numbers are rare: a quarter of a percent of normally distributed weights with a deviation of
 * 0.02. If four times eight weights contain none, which is checked with eight magnitudes of a vector at a
 * time, `quickLow` and `quickHigh` shift the bits to their positions in a binary32, and multiply by 2^112,
 * which is exact and turns 0 into 0: 8 instructions instead of 18 for eight weights. Zeros must take this
 * fast path: they are a tenth of the weights that came from 4 bits.
 */
@unmanaged
export class F16 extends Codec {
  @inline override get bytes(): usize {
    return F16_BLOCK_BYTES;
  }
  @inline override get unpackFrom(): i32 {
    return 4;
  }
  @inline override get packed(): bool {
    return false;
  }
  @inline override first(ptr: usize): v128 {
    return v128.load(ptr);
  }
  @inline override second(_ptr: usize, a: v128): v128 {
    return a;
  }
  @inline override low(a: v128, _b: v128): v128 {
    return F16.widen(i32x4.extend_low_i16x8_s(a));
  }
  @inline override high(a: v128, _b: v128): v128 {
    return F16.widen(i32x4.extend_high_i16x8_s(a));
  }
  @inline override one(ptr: usize): f32 {
    return f32x4.extract_lane(F16.widen(i32x4.splat(load<i16>(ptr))), 0);
  }

  /** Whether the number at `ptr` is neither NaN nor infinite. */
  @inline static finite(ptr: usize): bool {
    return (load<u16>(ptr) & 0x7c00) != 0x7c00;
  }

  /** True if none is denormal. */
  @inline override quick(a0: v128, a1: v128, a2: v128, a3: v128): bool {
    const m01 = i16x8.min_u(F16.magnitudeBelow(a0), F16.magnitudeBelow(a1));
    const m23 = i16x8.min_u(F16.magnitudeBelow(a2), F16.magnitudeBelow(a3));
    return i16x8.all_true(i16x8.ge_u(i16x8.min_u(m01, m23), F16_DENORMALS));
  }
  @inline override quickLow(a: v128, _b: v128): v128 {
    return F16.scaled(i16x8.shuffle(i16x8.splat(0), a, 0, 8, 1, 9, 2, 10, 3, 11));
  }
  @inline override quickHigh(a: v128, _b: v128): v128 {
    return F16.scaled(i16x8.shuffle(i16x8.splat(0), a, 4, 12, 5, 13, 6, 14, 7, 15));
  }

  /** Whether all eight have an exponent that is not 0. */
  @inline static normal(a: v128): bool {
    return i16x8.all_true(v128.and(a, F16_EXPONENT));
  }

  /** Eight magnitudes less 1, as u16: below F16_DENORMALS for denormal numbers alone, as 0 becomes 65,535. */
  @inline static magnitudeBelow(a: v128): v128 {
    return i16x8.add(v128.and(a, F16_BITS), i16x8.splat(-1));
  }

  /** Four binary16 in upper halves of words, none of them denormal, as f32. */
  @inline static scaled(h: v128): v128 {
    return f32x4.mul(v128.and(i32x4.shr_s(h, 3), F16_PLACED), F16_UNBIASED);
  }

  /** Four sign-extended binary16 as f32. */
  @inline static widen(h: v128): v128 {
    const shifted = i32x4.shl(h, 13);
    const magnitude = v128.and(shifted, F16_MAGNITUDE);
    const normal = i32x4.add(magnitude, F16_REBIAS);
    const denormal = f32x4.sub(i32x4.add(magnitude, F16_REBIAS_DENORMAL), F16_MIN_NORMAL);
    return v128.or(f32x4.pmin(normal, denormal), v128.and(shifted, F32_SIGN));
  }
}
