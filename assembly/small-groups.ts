/**
 * GGUF's formats with blocks of 32, as drawn in src/checkpoint/gguf/dequantise.ts: a factor, perhaps a
 * least value, 4 bits of each weight, and perhaps a fifth one.
 */
import { BITS_OF_TWO, EACH_15, EACH_16, MXFP4_RAISED } from './constants';
import {
  MXFP4_BLOCK_BYTES,
  Q4_0_BLOCK_BYTES,
  Q4_1_BLOCK_BYTES,
  Q5_0_BLOCK_BYTES,
  Q5_1_BLOCK_BYTES,
} from './exports/shared-constants';
import { G, GroupCodec } from './group';

/** Code shared by these formats: a group is a block. */
@unmanaged
abstract class BlockOfGroup extends GroupCodec {
  @inline override get groups(): i32 {
    return 1;
  }
  @inline override get runs(): i32 {
    return 1;
  }
  @inline override get scaled(): bool {
    return false;
  }
  @inline override get factorAt(): usize {
    return 0;
  }
  @inline override get leastAt(): usize {
    return 2;
  }
  @inline override get low(): v128 {
    return EACH_15;
  }
  @inline override place(word: i32): i32 {
    return word;
  }
  /** Chunk c of the nibbles at p: of four words of each row, lower halves come first. */
  @inline static nibbles(p: usize, c: i32, low: v128): v128 {
    return G.nibble(v128.load(p + ((<usize>(c & 3)) << 4)), c > 3, low);
  }
}

@unmanaged
export class Q4_0 extends BlockOfGroup {
  @inline override finite(w: usize): bool {
    return G.finite<Q4_0>(w);
  }
  @inline override get bytes(): usize {
    return Q4_0_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 8;
  }
  @inline override get least(): i32 {
    return 0;
  }
  @inline override get pairs(): i32 {
    return 8;
  }
  @inline override get high(): v128 {
    return EACH_15;
  }
  @inline override get packedHigh(): v128 {
    return EACH_15;
  }
  @inline override half(w: usize, _h: usize, _g: i32, j: i32, low: v128, _high: v128): v128 {
    return G.nibble(v128.load(w, 2), j == 1, low);
  }
  @inline override heads(
    at: usize,
    _stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    G.ownHead<Q4_0>(at, w0, w1, w2, w3);
  }
  @inline override get fifthsWord(): i32 {
    return -1;
  }
  @inline override fifths(_p: usize): v128 {
    return EACH_15;
  }
  @inline override chunk(
    p: usize,
    _h: usize,
    _g: i32,
    c: i32,
    _fifths: v128,
    low: v128,
    _high: v128,
  ): v128 {
    return BlockOfGroup.nibbles(p + 8, c, low);
  }
  @inline override packedHeads(at: usize, _stride: usize, p: usize): void {
    G.ownPackedHead<Q4_0>(at, p);
  }
}

@unmanaged
export class Q4_1 extends BlockOfGroup {
  @inline override finite(w: usize): bool {
    return G.finite<Q4_1>(w);
  }
  @inline override get bytes(): usize {
    return Q4_1_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 0;
  }
  @inline override get least(): i32 {
    return 1;
  }
  @inline override get pairs(): i32 {
    return 8;
  }
  @inline override get high(): v128 {
    return EACH_15;
  }
  @inline override get packedHigh(): v128 {
    return EACH_15;
  }
  @inline override half(w: usize, _h: usize, _g: i32, j: i32, low: v128, _high: v128): v128 {
    return G.nibble(v128.load(w, 4), j == 1, low);
  }
  @inline override heads(
    at: usize,
    _stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    G.ownHead<Q4_1>(at, w0, w1, w2, w3);
  }
  @inline override get fifthsWord(): i32 {
    return -1;
  }
  @inline override fifths(_p: usize): v128 {
    return EACH_15;
  }
  @inline override chunk(
    p: usize,
    _h: usize,
    _g: i32,
    c: i32,
    _fifths: v128,
    low: v128,
    _high: v128,
  ): v128 {
    return BlockOfGroup.nibbles(p + 16, c, low);
  }
  @inline override packedHeads(at: usize, _stride: usize, p: usize): void {
    G.ownPackedHead<Q4_1>(at, p);
  }
}

@unmanaged
export class Q5_0 extends BlockOfGroup {
  @inline override finite(w: usize): bool {
    return G.finite<Q5_0>(w);
  }
  @inline override get bytes(): usize {
    return Q5_0_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 16;
  }
  @inline override get least(): i32 {
    return 0;
  }
  @inline override get pairs(): i32 {
    return 8;
  }
  @inline override get high(): v128 {
    return BITS_OF_TWO;
  }
  @inline override get packedHigh(): v128 {
    return EACH_16;
  }
  @inline override half(w: usize, _h: usize, _g: i32, j: i32, low: v128, high: v128): v128 {
    const fifth = G.fifth(w + 2 + ((<usize>j) << 1), high);
    return v128.or(G.nibble(v128.load(w, 6), j == 1, low), fifth);
  }
  @inline override heads(
    at: usize,
    _stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    G.ownHead<Q5_0>(at, w0, w1, w2, w3);
  }
  @inline override get fifthsWord(): i32 {
    return 0;
  }
  @inline override fifths(p: usize): v128 {
    return v128.load(p, 8);
  }
  @inline override chunk(
    p: usize,
    _h: usize,
    _g: i32,
    c: i32,
    fifths: v128,
    low: v128,
    high: v128,
  ): v128 {
    const four = BlockOfGroup.nibbles(p + 24, c, low);
    return v128.or(four, G.fifthOf(fifths, c, high));
  }
  @inline override packedHeads(at: usize, _stride: usize, p: usize): void {
    G.ownPackedHead<Q5_0>(at, p);
  }
}

@unmanaged
export class Q5_1 extends BlockOfGroup {
  @inline override finite(w: usize): bool {
    return G.finite<Q5_1>(w);
  }
  @inline override get bytes(): usize {
    return Q5_1_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 0;
  }
  @inline override get least(): i32 {
    return 1;
  }
  @inline override get pairs(): i32 {
    return 4;
  }
  @inline override get high(): v128 {
    return BITS_OF_TWO;
  }
  @inline override get packedHigh(): v128 {
    return EACH_16;
  }
  @inline override half(w: usize, _h: usize, _g: i32, j: i32, low: v128, high: v128): v128 {
    const fifth = G.fifth(w + 4 + ((<usize>j) << 1), high);
    return v128.or(G.nibble(v128.load(w, 8), j == 1, low), fifth);
  }
  @inline override heads(
    at: usize,
    _stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    G.ownHead<Q5_1>(at, w0, w1, w2, w3);
  }
  @inline override get fifthsWord(): i32 {
    return 1;
  }
  @inline override fifths(p: usize): v128 {
    return v128.load(p, 16);
  }
  @inline override chunk(
    p: usize,
    _h: usize,
    _g: i32,
    c: i32,
    fifths: v128,
    low: v128,
    high: v128,
  ): v128 {
    const four = BlockOfGroup.nibbles(p + 32, c, low);
    return v128.or(four, G.fifthOf(fifths, c, high));
  }
  @inline override packedHeads(at: usize, _stride: usize, p: usize): void {
    G.ownPackedHead<Q5_1>(at, p);
  }
}

/** From this exponent on, 12 times the scale is beyond f32. */
const MXFP4_OVERFLOW: u32 = 253;

/**
 * Four bits are an index into a table of integers from -12 to 12, which are twice the values that they
 * represent; the factor is a power of two. The table here has the integers plus 12.
 */
@unmanaged
export class MXFP4 extends BlockOfGroup {
  @inline override finite(w: usize): bool {
    return <u32>load<u8>(w) < MXFP4_OVERFLOW;
  }
  @inline override get bytes(): usize {
    return MXFP4_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 12;
  }
  @inline override get least(): i32 {
    return 0;
  }
  @inline override get pairs(): i32 {
    return 8;
  }
  @inline override get high(): v128 {
    return MXFP4_RAISED;
  }
  @inline override get packedHigh(): v128 {
    return MXFP4_RAISED;
  }
  @inline override half(w: usize, _h: usize, _g: i32, j: i32, low: v128, high: v128): v128 {
    return MXFP4.numbered(high, G.nibble(v128.load(w, 1), j == 1, low));
  }
  @inline override heads(
    at: usize,
    _stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    let e = i32x4.splat(<i32>load<u8>(w0));
    e = i32x4.replace_lane(e, 1, <i32>load<u8>(w1));
    e = i32x4.replace_lane(e, 2, <i32>load<u8>(w2));
    e = i32x4.replace_lane(e, 3, <i32>load<u8>(w3));
    v128.store(at, MXFP4.powers(e));
  }
  @inline override get fifthsWord(): i32 {
    return -1;
  }
  @inline override fifths(_p: usize): v128 {
    return EACH_15;
  }
  @inline override chunk(
    p: usize,
    _h: usize,
    _g: i32,
    c: i32,
    _fifths: v128,
    low: v128,
    high: v128,
  ): v128 {
    return MXFP4.numbered(high, BlockOfGroup.nibbles(p + 4, c, low));
  }
  @inline override packedHeads(at: usize, _stride: usize, p: usize): void {
    const bytes = v128.load32_zero(p);
    v128.store(at, MXFP4.powers(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes))));
  }
  /** The integers with these numbers, all below 16. */
  @inline static numbered(table: v128, numbers: v128): v128 {
    return ASC_FEATURE_RELAXED_SIMD
      ? i8x16.relaxed_swizzle(table, numbers)
      : i8x16.swizzle(table, numbers);
  }
  /** 2^(e - 128): a half of the scale, as the integers are doubled. Below an exponent of 2 it is denormal. */
  @inline static powers(e: v128): v128 {
    const one = i32x4.splat(1);
    const normal = i32x4.shl(i32x4.sub(e, one), 23);
    const denormal = i32x4.shl(i32x4.add(e, one), 21);
    return v128.bitselect(normal, denormal, i32x4.gt_s(e, one));
  }
}
