/**
 * GGUF's formats with blocks of 256, as drawn in src/checkpoint/gguf/dequantise.ts. Upper bits of
 * integers are shifted in words of 16 bits; what crosses from one byte to the next is masked out.
 */
import { EACH_3, EACH_4, EACH_15, EACH_16, EACH_48 } from './constants';
import {
  Q2_K_BLOCK_BYTES,
  Q3_K_BLOCK_BYTES,
  Q4_K_BLOCK_BYTES,
  Q5_K_BLOCK_BYTES,
  Q6_K_BLOCK_BYTES,
} from './exports/shared-constants';
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
  @inline override half(w: usize, h: usize, g: i32, j: i32, low: v128, _high: v128): v128 {
    const at = w + (h << 6) + ((<usize>(g >> 1)) << 5) + ((<usize>j) << 4);
    return G.nibble(v128.load(at, 16), (g & 1) == 1, low);
  }
}

@unmanaged
export class Q5_K extends ScalesOfGroups {
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
  @inline override half(w: usize, h: usize, g: i32, j: i32, low: v128, high: v128): v128 {
    const at = w + (h << 6) + ((<usize>(g >> 1)) << 5) + ((<usize>j) << 4);
    const four = G.nibble(v128.load(at, 48), (g & 1) == 1, low);
    // Bit 4 h + g of each byte comes to be bit 4.
    const fifth = i16x8.shl(v128.load(w + ((<usize>j) << 4), 16), 4 - 4 * <i32>h);
    return v128.or(four, v128.and(g == 0 ? fifth : i16x8.shr_u(fifth, g), high));
  }
}

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
  /** Heads of four rows, whose factors and scales these are. */
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
  @inline override half(w: usize, h: usize, g: i32, j: i32, low: v128, high: v128): v128 {
    const at = w + (h << 6) + ((<usize>(g & 1)) << 5) + ((<usize>j) << 4);
    const four = G.nibble(v128.load(at), g > 1, low);
    let two = v128.load(w + (h << 5) + ((<usize>j) << 4), 128);
    if (g == 0) two = i16x8.shl(two, 4);
    if (g == 1) two = i16x8.shl(two, 2);
    if (g == 3) two = i16x8.shr_u(two, 2);
    return v128.or(four, v128.and(two, high));
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
  @inline static of(ptr: usize, h: usize, g: i32, j: i32, threes: v128): v128 {
    const v = v128.load(ptr + (h << 5) + ((<usize>j) << 4));
    return v128.and(g == 0 ? v : i16x8.shr_u(v, 2 * g), threes);
  }
}

@unmanaged
export class Q3_K extends ScalesOfRuns {
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
  @inline override half(w: usize, h: usize, g: i32, j: i32, low: v128, high: v128): v128 {
    const two = TwoBits.of(w + 32, h, g, j, low);
    // Bit 4 h + g of each byte comes to be bit 2.
    const third = i16x8.shr_u(v128.load(w + ((<usize>j) << 4)), 4 * <i32>h);
    let placed = third;
    if (g == 0) placed = i16x8.shl(third, 2);
    if (g == 1) placed = i16x8.shl(third, 1);
    if (g == 3) placed = i16x8.shr_u(third, 1);
    return v128.or(two, v128.and(placed, high));
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
  @inline override half(w: usize, h: usize, g: i32, j: i32, low: v128, _high: v128): v128 {
    return TwoBits.of(w + 16, h, g, j, low);
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
  /** Those of two groups. */
  @inline static storeLeasts(at: usize, stride: usize, bytes: v128, leasts: v128): void {
    G.store4(at, 16, bytes, leasts);
    v128.store(at + stride, v128.load(at, 32));
    v128.store(at + stride, v128.load(at, 48), 16);
  }
}
