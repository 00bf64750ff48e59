/**
 * The block formats of GGUF files whose weights are integers of up to six bits, unsigned or made so, one
 * class each; see dtype.ts for how such classes are used. 32 weights in a row are a group:
 *
 *     weight = factor scale (q - offset) + least
 *
 *  - In formats with blocks of 32, a group is a block; the factor is its f16 (or power of
 *    two), the scale is 1.
 *  - In formats with blocks of 256, a block is eight groups. `factor` and `least` are of a group or,
 *    where `runs` is 2, of 16 weights: a run. Scales of runs are integers, which are multiplied in.
 *
 * The other data that the kernels need is the group's head. It is made for four rows at once, since four
 * rows are multiplied side by side:
 *
 *     | factor, 4 x f32 | least, 4 x f32 for each run, if any | scale, 4 x (i16, i16) for each run, if any |
 *
 * The head has each scale twice, as products of 8 bits are added up in pairs before they are scaled.
 */
import { F16 } from './dtype';

@unmanaged
export abstract class GroupCodec {
  /** Bytes of a block. */
  abstract get bytes(): usize;
  /** Groups of a block: 1 or 8. */
  abstract get groups(): i32;
  /** Parts of a group that have their own scale or least value: 1 or 2. */
  abstract get runs(): i32;
  /** The offset that is subtracted from the integers. */
  abstract get offset(): i32;
  /** Whether there are least values: 1; -1 if they are stored negated; or 0. */
  abstract get least(): i32;
  /** Whether there are integer scales. */
  abstract get scaled(): bool;
  /** How many sums of two products with -127 to 127, less the offset, fit in i16: a power of two. */
  abstract get pairs(): i32;
  /** Offsets in a block of its factor, and of the factor of its least values. */
  abstract get factorAt(): usize;
  abstract get leastAt(): usize;
  /** Whether all weights of the block at w are finite. */
  abstract finite(w: usize): bool;
  /** Masks for separately stored bits, or a table, which loops keep in variables; see constants.ts. */
  abstract get low(): v128;
  abstract get high(): v128;
  /** 16 integers of the block at w, as u8: half j of group 4 h + g. */
  abstract half(w: usize, h: usize, g: i32, j: i32, low: v128, high: v128): v128;
  /** The heads of the groups of a block of each of four rows, `stride` bytes apart. */
  abstract heads(at: usize, stride: usize, w0: usize, w1: usize, w2: usize, w3: usize): void;

  /** The index of the vector in a packed block that has word `word` of the rows' blocks. */
  abstract place(word: i32): i32;
  /** The word with the fifth bits of a group, one after the other, or -1. */
  abstract get fifthsWord(): i32;
  /** `high` of packed blocks. */
  abstract get packedHigh(): v128;
  /** Data that the chunks of a group of the packed block at p share: fifth bits, or nothing. */
  abstract fifths(p: usize): v128;
  /** Chunk c of group 4 h + g of the packed block at p: weights 4 c to 4 c + 3 of four rows, as u8. */
  abstract chunk(p: usize, h: usize, g: i32, c: i32, fifths: v128, low: v128, high: v128): v128;
  /** `heads` of the packed block at p. */
  abstract packedHeads(at: usize, stride: usize, p: usize): void;
}

/** Parts of codecs. */
export abstract class G {
  /** Bytes of a group's head. */
  @inline static headBytes<T extends GroupCodec>(): usize {
    const t = changetype<T>(0);
    return 16 + G.leastBytes<T>() + (t.scaled ? (<usize>t.runs) << 4 : 0);
  }
  @inline static leastBytes<T extends GroupCodec>(): usize {
    const t = changetype<T>(0);
    return t.least != 0 ? (<usize>t.runs) << 4 : 0;
  }

  /** Four f16 as f32. */
  @inline static halves(a0: usize, a1: usize, a2: usize, a3: usize): v128 {
    let v = v128.load16_splat(a0);
    v = v128.load_lane<u16>(a1, v, 1);
    v = v128.load_lane<u16>(a2, v, 2);
    v = v128.load_lane<u16>(a3, v, 3);
    return F16.widen(i32x4.extend_low_i16x8_s(v));
  }

  /** Whether the factors of the block at w, f16, are finite. */
  @inline static finite<T extends GroupCodec>(w: usize): bool {
    const t = changetype<T>(0);
    return F16.finite(w + t.factorAt) && (t.least == 0 || F16.finite(w + t.leastAt));
  }

  /** The head of formats with blocks of 32. */
  @inline static ownHead<T extends GroupCodec>(
    at: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    const t = changetype<T>(0);
    const f = t.factorAt;
    v128.store(at, G.halves(w0 + f, w1 + f, w2 + f, w3 + f));
    if (t.least != 0) {
      const m = t.leastAt;
      v128.store(at, G.halves(w0 + m, w1 + m, w2 + m, w3 + m), 16);
    }
  }

  /** The same for packed rows at p: a word of two f16 holds a factor and a least value. */
  @inline static ownPackedHead<T extends GroupCodec>(at: usize, p: usize): void {
    if (changetype<T>(0).least == 0) {
      v128.store(at, G.packedHalves(p));
      return;
    }
    const both = v128.load(p);
    v128.store(at, G.lowerHalves(both));
    v128.store(at, G.upperHalves(both), 16);
  }

  /** For packed rows: four f16, or the lower or upper halves of words of two f16. */
  @inline static packedHalves(p: usize): v128 {
    return F16.widen(v128.load_ext<i16>(p));
  }
  @inline static lowerHalves(words: v128): v128 {
    return F16.widen(i32x4.shr_s(i32x4.shl(words, 16), 16));
  }
  @inline static upperHalves(words: v128): v128 {
    return F16.widen(i32x4.shr_s(words, 16));
  }

  /** Byte k of a, b, c and d next to each other, for k from 4 part to 4 part + 3. */
  @inline static interleaved(a: v128, b: v128, c: v128, d: v128, part: i32): v128 {
    if (part < 2) {
      const ab = i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const cd = i8x16.shuffle(c, d, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      return G.pairs(ab, cd, part);
    }
    const ab = i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const cd = i8x16.shuffle(c, d, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return G.pairs(ab, cd, part - 2);
  }
  @inline private static pairs(ab: v128, cd: v128, part: i32): v128 {
    return part == 0
      ? i16x8.shuffle(ab, cd, 0, 8, 1, 9, 2, 10, 3, 11)
      : i16x8.shuffle(ab, cd, 4, 12, 5, 13, 6, 14, 7, 15);
  }

  /** Stores four times four bytes, u8, as f32 times `factor`, `stride` bytes apart. */
  @inline static store4(at: usize, stride: usize, bytes: v128, factor: v128): void {
    const low = i16x8.extend_low_i8x16_u(bytes);
    const high = i16x8.extend_high_i8x16_u(bytes);
    const v0 = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(low));
    const v1 = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(low));
    const v2 = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(high));
    const v3 = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(high));
    v128.store(at, f32x4.mul(factor, v0));
    v128.store(at + stride, f32x4.mul(factor, v1));
    v128.store(at + 2 * stride, f32x4.mul(factor, v2));
    v128.store(at + 3 * stride, f32x4.mul(factor, v3));
  }

  /** Stores four times four bytes, i8, each as two i16: those of two groups of two runs. */
  @inline static storeScales(at: usize, stride: usize, bytes: v128): void {
    const low = i16x8.extend_low_i8x16_s(bytes);
    const high = i16x8.extend_high_i8x16_s(bytes);
    v128.store(at, i16x8.shuffle(low, low, 0, 0, 1, 1, 2, 2, 3, 3));
    v128.store(at, i16x8.shuffle(low, low, 4, 4, 5, 5, 6, 6, 7, 7), 16);
    v128.store(at + stride, i16x8.shuffle(high, high, 0, 0, 1, 1, 2, 2, 3, 3));
    v128.store(at + stride, i16x8.shuffle(high, high, 4, 4, 5, 5, 6, 6, 7, 7), 16);
  }

  /** Lower or upper half of each byte. */
  @inline static nibble(v: v128, upper: bool, nibbles: v128): v128 {
    return v128.and(upper ? i16x8.shr_u(v, 4) : v, nibbles);
  }

  /** Bit `bit` of each byte as bit 4. */
  @inline static fifthOf(bytes: v128, bit: i32, sixteens: v128): v128 {
    if (bit == 4) return v128.and(bytes, sixteens);
    const placed = bit < 4 ? i16x8.shl(bytes, 4 - bit) : i16x8.shr_u(bytes, bit - 4);
    return v128.and(placed, sixteens);
  }

  /** 16 where bits of the two bytes at `ptr` are set, else 0; `bits` is BITS_OF_TWO. */
  @inline static fifth(ptr: usize, bits: v128): v128 {
    const both = v128.load16_splat(ptr);
    const spread = i8x16.shuffle(both, both, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const set = i8x16.eq(v128.and(spread, bits), bits);
    return v128.and(set, i8x16.splat(16));
  }
}
