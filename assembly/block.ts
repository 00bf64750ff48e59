/**
 * The formats that quantise weights in blocks of 32 with one scale, one class each; see dtype.ts for
 * how such classes are used. A row of n weights is ceil(n / 32) blocks, one after the other; surplus
 * weights of a row's last block are 0. Rows follow each other without a gap, and need no alignment
 * beyond that of their scales: 2.
 *
 *     q8   | q0 q1 q2 ... q31, i8 each                            | scale, bf16 |    34 bytes
 *     q4   | word 0 | word 1 | ... | word 7, u16 each             | scale, bf16 |    18 bytes
 *             word j:   bits 0-3    4-7      8-11      12-15
 *                       q[j]        q[8+j]   q[16+j]   q[24+j]    two's complement, -8 to 7
 *
 *     weight = q * scale
 *
 * Why so:
 *  - The scale is the upper half of a binary32: reading the four bytes that end a block into every
 *    lane and clearing the lower half makes four f32 of it, in two instructions. An f16 scale takes
 *    eight, and is too coarse below 6e-5, where scales of small weights lie. The eight bits of its
 *    mantissa cost nothing: the integers are chosen for the scale as it is stored.
 *  - A scale times an integer of a block is exact in f32.
 *  - q4 words hold one weight each of four runs of eight: shifting (or not) and masking all of them
 *    gives eight consecutive weights at a time, with their sign, as the upper four bits of i16, that
 *    is 4096 times the weight. No shuffle, no widening, and 1/4096 goes into another factor.
 *  - A block can be used without any other data: columns can be split at any block.
 */

import {
  Q4_BLOCK_BYTES,
  Q8_BLOCK_BYTES,
  Q8_BLOCK_ELEMENTS,
  UNPACKED_BLOCK_BYTES,
} from './exports/shared-constants';

/** Weights per block, of either format. */
export const BLOCK: i32 = Q8_BLOCK_ELEMENTS;

/**
 * `part` k of a block is its weights 8k to 8k + 7 as i16, multiplied by 1 / `unit`. `nibble` and `upper`
 * are the constants NIBBLE and BF16_BITS, which loops keep in local variables: V8 loads a global again
 * for each use, which takes a tenth of the time.
 */
@unmanaged
export abstract class BlockCodec {
  /** Bytes of one block. */
  abstract get bytes(): usize;
  abstract get unit(): f32;
  /** The largest integers for i16 activations, so that the sums of a block fit i32. */
  abstract get levels(): f32;
  /** Data that the parts of the block at `ptr` share. */
  abstract open(ptr: usize): v128;
  abstract part(ptr: usize, open: v128, k: i32, nibble: v128): v128;
  /** The first four weights of part k as f32, multiplied by 1 / `unit`. */
  abstract low(ptr: usize, open: v128, k: i32, nibble: v128): v128;
  /** The other four. */
  abstract high(ptr: usize, open: v128, k: i32, nibble: v128): v128;
  /** The scale in all lanes. */
  abstract scale(ptr: usize, upper: v128): v128;
  /** Weight i, from 0 to 31, multiplied by 1 / `unit`. */
  abstract one(ptr: usize, i: i32): f32;
}

/** Blocks that begin with their weights, i8 each. */
@unmanaged
export abstract class BytesFirst extends BlockCodec {
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
    return v128.load8x8_s(ptr + ((<usize>k) << 3));
  }
  @inline override low(ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(this.part(ptr, open, k, nibble)));
  }
  @inline override high(ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    return f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(this.part(ptr, open, k, nibble)));
  }
  @inline override one(ptr: usize, i: i32): f32 {
    return <f32>load<i8>(ptr + <usize>i);
  }
}

@unmanaged
export class Q8 extends BytesFirst {
  @inline override get bytes(): usize {
    return Q8_BLOCK_BYTES;
  }
  @inline override scale(ptr: usize, upper: v128): v128 {
    return v128.and(v128.load_splat<u32>(ptr, 30), upper);
  }
}

@unmanaged
export class Q4 extends BlockCodec {
  @inline override get bytes(): usize {
    return Q4_BLOCK_BYTES;
  }
  @inline override get unit(): f32 {
    return 1.0 / 4096.0;
  }
  /** Eight products of at most 32768 x 8191 are below 2^31. */
  @inline override get levels(): f32 {
    return 8191;
  }
  @inline override open(ptr: usize): v128 {
    return v128.load(ptr);
  }
  @inline override part(_ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    if (k == 0) return i16x8.shl(open, 12);
    if (k == 1) return v128.and(i16x8.shl(open, 8), nibble);
    if (k == 2) return v128.and(i16x8.shl(open, 4), nibble);
    return v128.and(open, nibble);
  }
  @inline override low(ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(this.part(ptr, open, k, nibble)));
  }
  @inline override high(ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    return f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(this.part(ptr, open, k, nibble)));
  }
  @inline override scale(ptr: usize, upper: v128): v128 {
    return v128.and(v128.load_splat<u32>(ptr, 14), upper);
  }
  @inline override one(ptr: usize, i: i32): f32 {
    const word = <i32>load<u16>(ptr + ((<usize>(i & 7)) << 1));
    return <f32>(((word << (28 - ((i >> 3) << 2))) >> 28) << 12);
  }
}

/** A block unpacked for several positions: 32 weights as f32, multiplied by 1 / unit, and the scale. */
@unmanaged
export class UnpackedBlock extends BlockCodec {
  @inline override get bytes(): usize {
    return UNPACKED_BLOCK_BYTES;
  }
  @inline override get unit(): f32 {
    return 1;
  }
  @inline override get levels(): f32 {
    return 0;
  }
  @inline override open(_ptr: usize): v128 {
    return i32x4.splat(0);
  }
  @inline override part(_ptr: usize, open: v128, _k: i32, _nibble: v128): v128 {
    return open;
  }
  @inline override low(ptr: usize, _open: v128, k: i32, _nibble: v128): v128 {
    return v128.load(ptr + ((<usize>k) << 5));
  }
  @inline override high(ptr: usize, _open: v128, k: i32, _nibble: v128): v128 {
    return v128.load(ptr + ((<usize>k) << 5), 16);
  }
  @inline override scale(ptr: usize, _upper: v128): v128 {
    return v128.load_splat<f32>(ptr, 128);
  }
  @inline override one(ptr: usize, i: i32): f32 {
    return load<f32>(ptr + ((<usize>i) << 2));
  }
}
