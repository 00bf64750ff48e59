/**
 * Constants of inner loops, kept in globals that are set when the module starts.
 *
 * From Node 24 on, V8 builds a vector constant again at each use, from two 64-bit numbers with four
 * instructions, in every turn of a loop: conversions of f16 took twice as long as on Node 20. A global
 * is loaded from memory, as in native code. Its value must not be known before the module runs, so
 * that no optimiser turns it back into a constant.
 */

/** 0 at run time: no memory has 2^17 pages. */
const zero: i32 = memory.size() >>> 17;
/** The same for constants that other files define. */
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

/** Masks of binary32: exponent, sign, and everything but the sign. */
export const F32_EXPONENT: v128 = all32(0x7f800000);
export const F32_SIGN: v128 = all32(0x80000000);
export const F32_MAGNITUDE: v128 = all32(0x7fffffff);
/** The upper half of a binary32: what bfloat16 keeps. */
export const BF16_BITS: v128 = all32(0xffff0000);
export const BF16_EXPONENT: v128 = all16(0x7f80);
export const F16_EXPONENT: v128 = all16(0x7c00);
/** Everything of a binary16 but the sign. */
export const F16_BITS: v128 = all16(0x7fff);
/** The number of denormal magnitudes of binary16. */
export const F16_DENORMALS: v128 = all16(0x3ff);
/** Mask for four binary16 shifted to the positions of sign, exponent and mantissa in a binary32. */
export const F16_PLACED: v128 = all32(0x8fffe000);
/** 2^13 for the lower half of each 32-bit word, 0 for the upper one. */
export const F16_LOWER: v128 = all32(1 << 13);
/** 127 - 15, the difference of the exponent biases of binary32 and binary16, in binary32's exponent bits. */
export const F16_REBIAS: v128 = all32(112 << 23);
/** 2^112 as binary32: multiplying by it compensates for that difference. */
export const F16_UNBIASED: v128 = all32((127 + 112) << 23);
/** That difference plus 1. */
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
/** The same integer in each byte: masks for the separately stored bits of integers. */
export const EACH_3: v128 = all8(3);
export const EACH_4: v128 = all8(4);
export const EACH_15: v128 = all8(15);
export const EACH_16: v128 = all8(16);
export const EACH_48: v128 = all8(48);
/** Bit k of byte k and of byte 8 + k. */
export const BITS_OF_TWO: v128 = i64x2.splat(<i64>0x8040201008040201 | <i64>zero);
/** The table of integers that the indices of GGUF's IQ4_NL select, i8. */
export const IQ4_NL_INTEGERS: v128 = bytes16(0xf6eaddcfbfad9881, 0x7159453526190d01);
/** That of MXFP4 (0, 1, 2, 3, 4, 6, 8, 12 and the same negated), plus 12. */
export const MXFP4_RAISED: v128 = bytes16(0x18141210_0f0e0d0c, 0x00040608_090a0b0c);
