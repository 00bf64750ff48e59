/**
 * Constants of inner loops, kept in globals that are set when the module starts.
 *
 * V8 from Node 24 on makes a vector constant anew wherever it is used, out of two 64-bit numbers and
 * four instructions, in every turn of a loop: conversions of f16 took twice as long as on Node 20.
 * A global is a load from memory, as in native code. So that no optimiser takes it for a constant
 * again, its value must not be known before the module runs.
 */

/** 0: no memory has 2^17 pages. */
const zero: i32 = memory.size() >>> 17;
/** The same for constants that are made elsewhere. */
export const ZERO: i32 = zero;

function all16(value: i32): v128 {
  return i16x8.splat(<i16>(value | zero));
}
function all32(value: i32): v128 {
  return i32x4.splat(value | zero);
}

function all8(value: i32): v128 {
  return i8x16.splat(<i8>(value | zero));
}

function bytes16(low: i64, high: i64): v128 {
  return i64x2.replace_lane(i64x2.splat(low | <i64>zero), 1, high | <i64>zero);
}

/** Of binary32: exponent, sign, and everything but the sign. */
export const F32_EXPONENT: v128 = all32(0x7f800000);
export const F32_SIGN: v128 = all32(0x80000000);
export const F32_MAGNITUDE: v128 = all32(0x7fffffff);
/** The upper half of a binary32: what bfloat16 keeps. */
export const BF16_BITS: v128 = all32(0xffff0000);
export const BF16_EXPONENT: v128 = all16(0x7f80);
export const F16_EXPONENT: v128 = all16(0x7c00);
/** Everything of a binary16 but the sign. */
export const F16_BITS: v128 = all16(0x7fff);
/** How many magnitudes of a binary16 are denormal. */
export const F16_DENORMALS: v128 = all16(0x3ff);
/** Of four binary16 that are shifted to where a binary32 has sign, exponent and mantissa: these. */
export const F16_PLACED: v128 = all32(0x8fffe000);
/** 2^13 for the lower half of each 32-bit word, 0 for the upper one. */
export const F16_LOWER: v128 = all32(1 << 13);
/** 127 - 15, the difference of the exponents of binary32 and binary16, where a binary32 has it. */
export const F16_REBIAS: v128 = all32(112 << 23);
/** 2^112 as binary32: what takes that difference back. */
export const F16_UNBIASED: v128 = all32((127 + 112) << 23);
/** One more. */
export const F16_REBIAS_DENORMAL: v128 = all32(113 << 23);
/** Exponent and mantissa of a binary16, shifted left by 13. */
export const F16_MAGNITUDE: v128 = all32(0x0fffe000);
/** 2^-14, the smallest normal binary16, as binary32. */
export const F16_MIN_NORMAL: v128 = all32(0x38800000);
/** 2^16, above all finite binary16, as binary32. */
export const F16_SPECIAL: v128 = all32(0x47800000);
/** The uppermost four bits of 16. */
export const NIBBLE: v128 = all16(0xf000);
/** The integers of q4, as f32: -8 and 7. */
export const Q4_LEAST: v128 = all32(0xc1000000);
export const Q4_MOST: v128 = all32(0x40e00000);
/** The same integer in each byte: masks for bits of integers that are stored apart. */
export const EACH_3: v128 = all8(3);
export const EACH_4: v128 = all8(4);
export const EACH_15: v128 = all8(15);
export const EACH_16: v128 = all8(16);
export const EACH_48: v128 = all8(48);
/** Bit k of byte k and of byte 8 + k. */
export const BITS_OF_TWO: v128 = i64x2.splat(<i64>0x8040201008040201 | <i64>zero);
/** The integers that GGUF's IQ4_NL and MXFP4 number, i8. */
export const IQ4_NL_INTEGERS: v128 = bytes16(0xf6eaddcfbfad9881, 0x7159453526190d01);
export const MXFP4_INTEGERS: v128 = bytes16(0x0c08060403020100, 0xf4f8fafcfdfeff00);
