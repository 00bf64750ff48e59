/**
 * GGUF's formats with blocks of 256 whose runs of 16 weights have integer scales, as drawn in
 * src/checkpoint/gguf/dequantise.ts. Bits are shifted in words of 16; those that cross bytes are masked out.
 */
import { EACH_3, EACH_4, EACH_15, EACH_48 } from './constants';
import { Q2_K_BLOCK_BYTES, Q3_K_BLOCK_BYTES, Q6_K_BLOCK_BYTES } from './exports/shared-constants';
import { G, GroupCodec } from './group';

/** Integer scales of runs of 16, i8. */
@unmanaged
abstract class ScalesOfRuns extends GroupCodec {
  @inline override get groups(): i32 {
    return 8;
  }
  @inline override get runs(): i32 {
    return 2;
  }
  @inline override get scaled(): bool {
    return true;
  }
  @inline override get pairs(): i32 {
    return 4;
  }
  @inline override get fifthsWord(): i32 {
    return -1;
  }
  @inline override fifths(_p: usize): v128 {
    return EACH_15;
  }
  /** Heads of packed rows: words of four scales, a lane for each row. */
  @inline static storePacked(
    at: usize,
    stride: usize,
    factors: v128,
    scalesAt: usize,
    s0: v128,
    s1: v128,
    s2: v128,
    s3: v128,
  ): void {
    for (let g: usize = 0; g < 8; g++) v128.store(at + g * stride, factors);
    const to = at + scalesAt;
    ScalesOfRuns.storeFour(to, stride, s0);
    ScalesOfRuns.storeFour(to + 2 * stride, stride, s1);
    ScalesOfRuns.storeFour(to + 4 * stride, stride, s2);
    ScalesOfRuns.storeFour(to + 6 * stride, stride, s3);
  }
  /** Each byte of words, i8, as two i16: those of two groups of two runs. */
  @inline static storeFour(at: usize, stride: usize, words: v128): void {
    const b0 = i8x16.shuffle(words, words, 0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
    const b1 = i8x16.shuffle(words, words, 1, 1, 1, 1, 5, 5, 5, 5, 9, 9, 9, 9, 13, 13, 13, 13);
    const b2 = i8x16.shuffle(words, words, 2, 2, 2, 2, 6, 6, 6, 6, 10, 10, 10, 10, 14, 14, 14, 14);
    const b3 = i8x16.shuffle(words, words, 3, 3, 3, 3, 7, 7, 7, 7, 11, 11, 11, 11, 15, 15, 15, 15);
    v128.store(at, i16x8.shr_s(b0, 8));
    v128.store(at, i16x8.shr_s(b1, 8), 16);
    v128.store(at + stride, i16x8.shr_s(b2, 8));
    v128.store(at + stride, i16x8.shr_s(b3, 8), 16);
  }

  /** Heads of four rows with these factors and scales. */
  @inline static store(
    at: usize,
    stride: usize,
    factors: v128,
    scalesAt: usize,
    s0: v128,
    s1: v128,
    s2: v128,
    s3: v128,
  ): void {
    for (let g: usize = 0; g < 8; g++) v128.store(at + g * stride, factors);
    const to = at + scalesAt;
    G.storeScales(to, stride, G.interleaved(s0, s1, s2, s3, 0));
    G.storeScales(to + 2 * stride, stride, G.interleaved(s0, s1, s2, s3, 1));
    G.storeScales(to + 4 * stride, stride, G.interleaved(s0, s1, s2, s3, 2));
    G.storeScales(to + 6 * stride, stride, G.interleaved(s0, s1, s2, s3, 3));
  }
}

@unmanaged
export class Q6_K extends ScalesOfRuns {
  @inline override finite(w: usize): bool {
    return G.finite<Q6_K>(w);
  }
  @inline override get bytes(): usize {
    return Q6_K_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 32;
  }
  @inline override get least(): i32 {
    return 0;
  }
  @inline override get factorAt(): usize {
    return 208;
  }
  @inline override get leastAt(): usize {
    return 208;
  }
  @inline override get low(): v128 {
    return EACH_15;
  }
  @inline override get high(): v128 {
    return EACH_48;
  }
  @inline override get packedHigh(): v128 {
    return EACH_48;
  }
  @inline override half(w: usize, h: usize, g: i32, j: i32, low: v128, high: v128): v128 {
    const at = w + (h << 6) + ((<usize>(g & 1)) << 5) + ((<usize>j) << 4);
    const four = G.nibble(v128.load(at), g > 1, low);
    const two = v128.load(w + (h << 5) + ((<usize>j) << 4), 128);
    return v128.or(four, Q6_K.upper(two, g, high));
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
    const at = p + 384 * h + ((<usize>c) << 4);
    const four = G.nibble(v128.load(at + ((<usize>(g & 1)) << 7), 72), g > 1, low);
    return v128.or(four, Q6_K.upper(v128.load(at, 328), g, high));
  }
  @inline override packedHeads(at: usize, stride: usize, p: usize): void {
    const s0 = v128.load(p, 8);
    const s1 = v128.load(p, 24);
    const s2 = v128.load(p, 40);
    const s3 = v128.load(p, 56);
    ScalesOfRuns.storePacked(at, stride, G.packedHalves(p), 16, s0, s1, s2, s3);
  }
  /** Bits 2 g and 2 g + 1 of each byte as bits 4 and 5. */
  @inline static upper(bytes: v128, g: i32, high: v128): v128 {
    let placed = bytes;
    if (g == 0) placed = i16x8.shl(bytes, 4);
    if (g == 1) placed = i16x8.shl(bytes, 2);
    if (g == 3) placed = i16x8.shr_u(bytes, 2);
    return v128.and(placed, high);
  }
  /** Scales, then four bits and two bits of each half, so that memory is read sequentially. */
  @inline override place(word: i32): i32 {
    if (word >= 48) return word - 48;
    if (word >= 32) return word < 40 ? word - 12 : word + 4;
    return word < 16 ? word + 4 : word + 12;
  }
  @inline override heads(
    at: usize,
    stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    ScalesOfRuns.store(
      at,
      stride,
      G.halves(w0 + 208, w1 + 208, w2 + 208, w3 + 208),
      16,
      v128.load(w0, 192),
      v128.load(w1, 192),
      v128.load(w2, 192),
      v128.load(w3, 192),
    );
  }
}

/** Two bits of each weight, of four groups in a byte. */
abstract class TwoBits {
  /** The bits of vector i at `ptr`. */
  @inline static of(ptr: usize, g: i32, i: i32, threes: v128): v128 {
    const v = v128.load(ptr + ((<usize>i) << 4));
    return v128.and(g == 0 ? v : i16x8.shr_u(v, 2 * g), threes);
  }
}

@unmanaged
export class Q3_K extends ScalesOfRuns {
  @inline override finite(w: usize): bool {
    return G.finite<Q3_K>(w);
  }
  @inline override get bytes(): usize {
    return Q3_K_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 4;
  }
  @inline override get least(): i32 {
    return 0;
  }
  @inline override get factorAt(): usize {
    return 108;
  }
  @inline override get leastAt(): usize {
    return 108;
  }
  @inline override get low(): v128 {
    return EACH_3;
  }
  @inline override get high(): v128 {
    return EACH_4;
  }
  @inline override get packedHigh(): v128 {
    return EACH_4;
  }
  @inline override half(w: usize, h: usize, g: i32, j: i32, low: v128, high: v128): v128 {
    const two = TwoBits.of(w + 32 + (h << 5), g, j, low);
    return v128.or(two, Q3_K.third(v128.load(w + ((<usize>j) << 4)), h, g, high));
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
    const two = TwoBits.of(p + 184 + (h << 7), g, c, low);
    return v128.or(two, Q3_K.third(v128.load(p + ((<usize>c) << 4), 56), h, g, high));
  }
  @inline override packedHeads(at: usize, stride: usize, p: usize): void {
    const a = v128.load(p, 8);
    const b = v128.load(p, 24);
    const c = v128.load(p, 40);
    const factors = G.packedHalves(p);
    const s0 = Q3_K.scale(a, i32x4.shl(c, 4));
    const s1 = Q3_K.scale(b, i32x4.shl(c, 2));
    const s2 = Q3_K.scale(i32x4.shr_u(a, 4), c);
    const s3 = Q3_K.scale(i32x4.shr_u(b, 4), i32x4.shr_u(c, 2));
    ScalesOfRuns.storePacked(at, stride, factors, 16, s0, s1, s2, s3);
  }
  /** Bit 4 h + g of each byte as bit 2. */
  @inline static third(bytes: v128, h: usize, g: i32, high: v128): v128 {
    const third = i16x8.shr_u(bytes, 4 * <i32>h);
    let placed = third;
    if (g == 0) placed = i16x8.shl(third, 2);
    if (g == 1) placed = i16x8.shl(third, 1);
    if (g == 3) placed = i16x8.shr_u(third, 1);
    return v128.and(placed, high);
  }
  /** Scales come first, as they are needed first. */
  @inline override place(word: i32): i32 {
    return word < 24 ? word + 3 : word - 24;
  }
  /** Bytes of scales, less 32: four bits of each from `lower`, two from `upper`. */
  @inline static scale(lower: v128, upper: v128): v128 {
    const all = v128.or(v128.and(lower, EACH_15), v128.and(upper, EACH_48));
    return i8x16.sub(all, i8x16.splat(32));
  }
  @inline override heads(
    at: usize,
    stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    ScalesOfRuns.store(
      at,
      stride,
      G.halves(w0 + 108, w1 + 108, w2 + 108, w3 + 108),
      16,
      Q3_K.scales(w0 + 96),
      Q3_K.scales(w1 + 96),
      Q3_K.scales(w2 + 96),
      Q3_K.scales(w3 + 96),
    );
  }
  /** Four bits of each in eight bytes, those of the last eight above; the other two bits in four. */
  @inline static scales(ptr: usize): v128 {
    const a = load<u32>(ptr);
    const b = load<u32>(ptr, 4);
    const c = load<u32>(ptr, 8);
    let v = i32x4.splat(<i32>((a & 0x0f0f0f0f) | ((c << 4) & 0x30303030)));
    v = i32x4.replace_lane(v, 1, <i32>((b & 0x0f0f0f0f) | ((c << 2) & 0x30303030)));
    v = i32x4.replace_lane(v, 2, <i32>(((a >>> 4) & 0x0f0f0f0f) | (c & 0x30303030)));
    v = i32x4.replace_lane(v, 3, <i32>(((b >>> 4) & 0x0f0f0f0f) | ((c >>> 2) & 0x30303030)));
    return i8x16.sub(v, i8x16.splat(32));
  }
}

/** Scales of runs and their least values, 4 bits each. */
@unmanaged
export class Q2_K extends ScalesOfRuns {
  @inline override finite(w: usize): bool {
    return G.finite<Q2_K>(w);
  }
  @inline override get bytes(): usize {
    return Q2_K_BLOCK_BYTES;
  }
  @inline override get offset(): i32 {
    return 0;
  }
  @inline override get least(): i32 {
    return -1;
  }
  @inline override get factorAt(): usize {
    return 80;
  }
  @inline override get leastAt(): usize {
    return 82;
  }
  @inline override get low(): v128 {
    return EACH_3;
  }
  @inline override get high(): v128 {
    return EACH_3;
  }
  @inline override get packedHigh(): v128 {
    return EACH_3;
  }
  @inline override half(w: usize, h: usize, g: i32, j: i32, low: v128, _high: v128): v128 {
    return TwoBits.of(w + 16 + (h << 5), g, j, low);
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
    return TwoBits.of(p + 80 + (h << 7), g, c, low);
  }
  @inline override packedHeads(at: usize, stride: usize, p: usize): void {
    const both = v128.load(p);
    const fours = EACH_15;
    const leasts = f32x4.neg(G.upperHalves(both));
    for (let k: usize = 0; k < 4; k++) {
      // Four runs are those of two groups.
      const bytes = G.nibble(v128.load(p + (k << 4), 16), true, fours);
      const to = at + 16 + 2 * k * stride;
      Q2_K.storePackedLeasts(to, bytes, 0, leasts);
      Q2_K.storePackedLeasts(to + 16, bytes, 8, leasts);
      Q2_K.storePackedLeasts(to + stride, bytes, 16, leasts);
      Q2_K.storePackedLeasts(to + stride + 16, bytes, 24, leasts);
    }
    ScalesOfRuns.storePacked(
      at,
      stride,
      G.lowerHalves(both),
      48,
      v128.and(v128.load(p, 16), fours),
      v128.and(v128.load(p, 32), fours),
      v128.and(v128.load(p, 48), fours),
      v128.and(v128.load(p, 64), fours),
    );
  }
  /** Factors come first, as they are needed first. */
  @inline override place(word: i32): i32 {
    return word < 20 ? word + 1 : 0;
  }
  @inline static storePackedLeasts(at: usize, words: v128, shift: i32, leasts: v128): void {
    const bytes = v128.and(i32x4.shr_u(words, shift), i32x4.splat(255));
    v128.store(at, f32x4.mul(leasts, f32x4.convert_i32x4_s(bytes)));
  }
  @inline override heads(
    at: usize,
    stride: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
  ): void {
    const fours = EACH_15;
    const b0 = v128.load(w0);
    const b1 = v128.load(w1);
    const b2 = v128.load(w2);
    const b3 = v128.load(w3);
    const leasts = f32x4.neg(G.halves(w0 + 82, w1 + 82, w2 + 82, w3 + 82));
    const u0 = G.nibble(b0, true, fours);
    const u1 = G.nibble(b1, true, fours);
    const u2 = G.nibble(b2, true, fours);
    const u3 = G.nibble(b3, true, fours);
    // Four runs are those of two groups. Scales come second, as these leave more than their own.
    Q2_K.storeLeasts(at + 16, stride, G.interleaved(u0, u1, u2, u3, 0), leasts);
    Q2_K.storeLeasts(at + 16 + 2 * stride, stride, G.interleaved(u0, u1, u2, u3, 1), leasts);
    Q2_K.storeLeasts(at + 16 + 4 * stride, stride, G.interleaved(u0, u1, u2, u3, 2), leasts);
    Q2_K.storeLeasts(at + 16 + 6 * stride, stride, G.interleaved(u0, u1, u2, u3, 3), leasts);
    ScalesOfRuns.store(
      at,
      stride,
      G.halves(w0 + 80, w1 + 80, w2 + 80, w3 + 80),
      48,
      v128.and(b0, fours),
      v128.and(b1, fours),
      v128.and(b2, fours),
      v128.and(b3, fours),
    );
  }
  @inline static storeLeasts(at: usize, stride: usize, bytes: v128, leasts: v128): void {
    G.store4(at, 16, bytes, leasts);
    v128.store(at + stride, v128.load(at, 32));
    v128.store(at + stride, v128.load(at, 48), 16);
  }
}
