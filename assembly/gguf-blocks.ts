/**
 * GGUF's formats with blocks of 32 signed integers of up to eight bits, as drawn in
 * src/checkpoint/gguf/dequantise.ts. They are multiplied in the same way as those of block.ts.
 *
 * In IQ4_NL, four bits are an index into a table of sixteen integers.
 */
import { BlockCodec } from './block';
import { EACH_15, IQ4_NL_INTEGERS } from './constants';
import { F16 } from './dtype';
import { IQ4_NL_BLOCK_BYTES, Q8_0_BLOCK_BYTES } from './exports/shared-constants';

/** Formats that are only read. */
@unmanaged
export abstract class StoredBlock extends BlockCodec {
  /** Whether all weights of the block at `ptr` are finite. */
  abstract finite(ptr: usize): bool;
}

/** Parts of codecs. */
abstract class B {
  /** The f16 at `ptr` in all lanes. */
  @inline static half(ptr: usize): v128 {
    return F16.widen(i32x4.extend_low_i16x8_s(v128.load16_splat(ptr)));
  }
  /** Eight of the integers in `table` that 16 bytes of indices select: lower halves come first. */
  @inline static numbered(table: v128, numbers: v128, k: i32): v128 {
    const mask = EACH_15;
    const each = v128.and(k < 2 ? numbers : i16x8.shr_u(numbers, 4), mask);
    const integers = ASC_FEATURE_RELAXED_SIMD
      ? i8x16.relaxed_swizzle(table, each)
      : i8x16.swizzle(table, each);
    return (k & 1) == 0 ? i16x8.extend_low_i8x16_s(integers) : i16x8.extend_high_i8x16_s(integers);
  }
  /** Index i of those at `ptr`. */
  @inline static number(ptr: usize, i: i32): i32 {
    return (<i32>load<u8>(ptr + <usize>(i & 15)) >> (i < 16 ? 0 : 4)) & 15;
  }
  /** The integer with an index. */
  @inline static integer(table: v128, number: i32): i32 {
    const found = i8x16.swizzle(table, i8x16.splat(<i8>number));
    return i8x16.extract_lane_s(found, 0);
  }
  @inline static low(part: v128): v128 {
    return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(part));
  }
  @inline static high(part: v128): v128 {
    return f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(part));
  }
}

@unmanaged
export class Q8_0 extends StoredBlock {
  @inline override get bytes(): usize {
    return Q8_0_BLOCK_BYTES;
  }
  @inline override get unit(): f32 {
    return 1;
  }
  @inline override get levels(): f32 {
    return 32767;
  }
  @inline override open(_ptr: usize): v128 {
    return i32x4.splat(0);
  }
  @inline override part(ptr: usize, _open: v128, k: i32, _nibble: v128): v128 {
    return v128.load8x8_s(ptr + ((<usize>k) << 3), 2);
  }
  @inline override low(ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    return B.low(this.part(ptr, open, k, nibble));
  }
  @inline override high(ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    return B.high(this.part(ptr, open, k, nibble));
  }
  @inline override scale(ptr: usize, _upper: v128): v128 {
    return B.half(ptr);
  }
  @inline override one(ptr: usize, i: i32): f32 {
    return <f32>load<i8>(ptr + <usize>i, 2);
  }
  @inline override finite(ptr: usize): bool {
    return F16.finite(ptr);
  }
}

@unmanaged
export class IQ4_NL extends StoredBlock {
  @inline override get bytes(): usize {
    return IQ4_NL_BLOCK_BYTES;
  }
  @inline override get unit(): f32 {
    return 1;
  }
  @inline override get levels(): f32 {
    return 32767;
  }
  @inline override open(ptr: usize): v128 {
    return v128.load(ptr, 2);
  }
  @inline override part(_ptr: usize, open: v128, k: i32, _nibble: v128): v128 {
    return B.numbered(IQ4_NL_INTEGERS, open, k);
  }
  @inline override low(ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    return B.low(this.part(ptr, open, k, nibble));
  }
  @inline override high(ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    return B.high(this.part(ptr, open, k, nibble));
  }
  @inline override scale(ptr: usize, _upper: v128): v128 {
    return B.half(ptr);
  }
  @inline override one(ptr: usize, i: i32): f32 {
    return <f32>B.integer(IQ4_NL_INTEGERS, B.number(ptr + 2, i));
  }
  @inline override finite(ptr: usize): bool {
    return F16.finite(ptr);
  }
}
