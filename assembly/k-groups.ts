/**
 * GGUF's formats with blocks of 256 whose groups have a factor and a least value each, as drawn in
 * src/checkpoint/gguf/dequantise.ts. Upper bits of integers are shifted in words of 16 bits; bits
 * that cross from one byte to the next are masked out.
 */
import { EACH_15, EACH_16 } from './constants';
import { Q4_K_BLOCK_BYTES, Q5_K_BLOCK_BYTES } from './exports/shared-constants';
import { G, GroupCodec } from './group';

/** Factors and least values of groups are products of f16 and 6 bits, one after the other. */
@unmanaged
abstract class ScalesOfGroups extends GroupCodec {
  @inline override get groups(): i32 {
    return 8;
  }
  @inline override get runs(): i32 {
    return 1;
  }
  @inline override get offset(): i32 {
    return 0;
  }
  @inline override get least(): i32 {
    return -1;
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
  @inline override heads(
    at: usize,
    stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    const s0 = ScalesOfGroups.bytes16(w0 + 4);
    const s1 = ScalesOfGroups.bytes16(w1 + 4);
    const s2 = ScalesOfGroups.bytes16(w2 + 4);
    const s3 = ScalesOfGroups.bytes16(w3 + 4);
    const factors = G.halves(w0, w1, w2, w3);
    G.store4(at, stride, G.interleaved(s0, s1, s2, s3, 0), factors);
    G.store4(at + 4 * stride, stride, G.interleaved(s0, s1, s2, s3, 1), factors);
    const leasts = f32x4.neg(G.halves(w0 + 2, w1 + 2, w2 + 2, w3 + 2));
    G.store4(at + 16, stride, G.interleaved(s0, s1, s2, s3, 2), leasts);
    G.store4(at + 16 + 4 * stride, stride, G.interleaved(s0, s1, s2, s3, 3), leasts);
  }

  @inline override place(word: i32): i32 {
    return word;
  }
  @inline override get fifthsWord(): i32 {
    return -1;
  }
  @inline override fifths(_p: usize): v128 {
    return EACH_15;
  }
  @inline override packedHeads(at: usize, stride: usize, p: usize): void {
    // Each lane belongs to one row.
    const both = v128.load(p);
    const a = v128.load(p, 16);
    const b = v128.load(p, 32);
    const c = v128.load(p, 48);
    const sixes = i32x4.splat(0x3f3f3f3f);
    const fours = EACH_15;
    const upper = i32x4.splat(0x30303030);
    const factors = G.lowerHalves(both);
    ScalesOfGroups.store4(at, stride, v128.and(a, sixes), factors);
    const scales = v128.or(v128.and(c, fours), v128.and(i32x4.shr_u(a, 2), upper));
    ScalesOfGroups.store4(at + 4 * stride, stride, scales, factors);
    const leasts = f32x4.neg(G.upperHalves(both));
    ScalesOfGroups.store4(at + 16, stride, v128.and(b, sixes), leasts);
    const more = v128.or(v128.and(i32x4.shr_u(c, 4), fours), v128.and(i32x4.shr_u(b, 2), upper));
    ScalesOfGroups.store4(at + 16 + 4 * stride, stride, more, leasts);
  }

  /** Stores byte 0 of each word as f32 times `factor`, then bytes 1, 2 and 3, `stride` bytes apart. */
  @inline static store4(at: usize, stride: usize, words: v128, factor: v128): void {
    const each = i32x4.splat(255);
    v128.store(at, f32x4.mul(factor, f32x4.convert_i32x4_s(v128.and(words, each))));
    const w1 = v128.and(i32x4.shr_u(words, 8), each);
    v128.store(at + stride, f32x4.mul(factor, f32x4.convert_i32x4_s(w1)));
    const w2 = v128.and(i32x4.shr_u(words, 16), each);
    v128.store(at + 2 * stride, f32x4.mul(factor, f32x4.convert_i32x4_s(w2)));
    const w3 = i32x4.shr_u(words, 24);
    v128.store(at + 3 * stride, f32x4.mul(factor, f32x4.convert_i32x4_s(w3)));
  }

  /** The eight scales, then the eight least values. */
  @inline static bytes16(ptr: usize): v128 {
    const a = load<u32>(ptr);
    const b = load<u32>(ptr, 4);
    const c = load<u32>(ptr, 8);
    let v = i32x4.splat(<i32>(a & 0x3f3f3f3f));
    v = i32x4.replace_lane(v, 1, <i32>((c & 0x0f0f0f0f) | ((a >>> 2) & 0x30303030)));
    v = i32x4.replace_lane(v, 2, <i32>(b & 0x3f3f3f3f));
    return i32x4.replace_lane(v, 3, <i32>(((c >>> 4) & 0x0f0f0f0f) | ((b >>> 2) & 0x30303030)));
  }
}

@unmanaged
export class Q4_K extends ScalesOfGroups {
  @inline override finite(w: usize): bool {
    return G.finite<Q4_K>(w);
  }
  @inline override get bytes(): usize {
    return Q4_K_BLOCK_BYTES;
  }
  @inline override get pairs(): i32 {
    return 8;
  }
  @inline override get low(): v128 {
    return EACH_15;
  }
  @inline override get high(): v128 {
    return EACH_15;
  }
  @inline override get packedHigh(): v128 {
    return EACH_15;
  }
  @inline override half(w: usize, h: usize, g: i32, j: i32, low: v128, _high: v128): v128 {
    const at = w + (h << 6) + ((<usize>(g >> 1)) << 5) + ((<usize>j) << 4);
    return G.nibble(v128.load(at, 16), (g & 1) == 1, low);
  }
  @inline override chunk(
    p: usize,
    h: usize,
    g: i32,
    c: i32,
    _fifths: v128,
    low: v128,
    _high: v128,
  ): v128 {
    const at = p + (h << 8) + ((<usize>(g >> 1)) << 7) + ((<usize>c) << 4);
    return G.nibble(v128.load(at, 64), (g & 1) == 1, low);
  }
}

@unmanaged
export class Q5_K extends ScalesOfGroups {
  @inline override finite(w: usize): bool {
    return G.finite<Q5_K>(w);
  }
  @inline override get bytes(): usize {
    return Q5_K_BLOCK_BYTES;
  }
  @inline override get pairs(): i32 {
    return 4;
  }
  @inline override get low(): v128 {
    return EACH_15;
  }
  @inline override get high(): v128 {
    return EACH_16;
  }
  @inline override get packedHigh(): v128 {
    return EACH_16;
  }
  @inline override half(w: usize, h: usize, g: i32, j: i32, low: v128, high: v128): v128 {
    const at = w + (h << 6) + ((<usize>(g >> 1)) << 5) + ((<usize>j) << 4);
    const four = G.nibble(v128.load(at, 48), (g & 1) == 1, low);
    return v128.or(four, Q5_K.fifth(v128.load(w + ((<usize>j) << 4), 16), h, g, high));
  }
  @inline override chunk(
    p: usize,
    h: usize,
    g: i32,
    c: i32,
    _fifths: v128,
    low: v128,
    high: v128,
  ): v128 {
    const at = p + (h << 8) + ((<usize>(g >> 1)) << 7) + ((<usize>c) << 4);
    const four = G.nibble(v128.load(at, 192), (g & 1) == 1, low);
    return v128.or(four, Q5_K.fifth(v128.load(p + ((<usize>c) << 4), 64), h, g, high));
  }
  /** Bit 4 h + g of each byte as bit 4. */
  @inline static fifth(bytes: v128, h: usize, g: i32, high: v128): v128 {
    const fifth = i16x8.shl(bytes, 4 - 4 * <i32>h);
    return v128.and(g == 0 ? fifth : i16x8.shr_u(fifth, g), high);
  }
}
