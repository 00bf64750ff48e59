/**
 * Products of eight rows of GGUF's block formats with two positions at a time, for many positions that share
 * weights. The weights are laid out for one loop that reads them from front to back. The layout of a group:
 *
 *     | weights 0-3 of row 0, of row 1, 2, 3, u8 | of rows 4 to 7 | weights 4-7 ... |
 *     | head of rows 0 to 3 | head of rows 4 to 7 |
 *
 * So a vector of four activations, repeated, gives sums in which each row has its own lane. A group adds to
 * a row's sum the same value to the bit as in group-dot.ts.
 */
import { QUANTISED_PAIR_BYTES } from './exports/shared-constants';
import { G, GroupCodec } from './group';
import { SCALE0, SCALE1, SUMS0, SUMS1 } from './group-activations';
import { Heads, I } from './group-dot';
import { V } from './vector';

/** Rows and positions of a product. */
export const EIGHT: i32 = 8;
/** Bytes from four weights of four rows to the next four of the same rows. */
export const CHUNK_BYTES: usize = 32;
/** Bytes of the weights of a group of eight rows. */
const WEIGHT_BYTES: usize = 8 * CHUNK_BYTES;
/** Eight rows, unpacked. */
export abstract class Eights {
  /** Bytes of a group. */
  @inline static bytes<T extends GroupCodec>(): usize {
    return WEIGHT_BYTES + 2 * G.headBytes<T>();
  }
  /** Offsets of the weights of the first or the second four rows, and of their head. */
  @inline static weights(second: bool): usize {
    return second ? CHUNK_BYTES / 2 : 0;
  }
  @inline static head<T extends GroupCodec>(second: bool): usize {
    return WEIGHT_BYTES + (second ? G.headBytes<T>() : 0);
  }

  /** The integers of half j of a group of four rows, from its sums of pairs; scales, if any, at `scales`. */
  @inline static half<T extends GroupCodec>(s: v128, j: usize, scales: usize, sums: usize): v128 {
    const t = changetype<T>(0);
    if (!t.scaled) return i32x4.extadd_pairwise_i16x8_s(s);
    if (t.offset != 0) s = i16x8.add(s, v128.load_splat<u32>(sums + (j << 2)));
    return i32x4.dot_i16x8_s(s, v128.load(scales + (j << 4)));
  }
  /** Those of a group, both of whose halves are in one sum. */
  @inline static whole<T extends GroupCodec>(s: v128, sums: usize): v128 {
    if (changetype<T>(0).offset != 0) s = i16x8.add(s, v128.load_splat<u32>(sums));
    return i32x4.extadd_pairwise_i16x8_s(s);
  }

  /** The sum of pairs with the first of the second half. */
  @inline static next<T extends GroupCodec>(s: v128, p: v128): v128 {
    return changetype<T>(0).pairs == 8 ? i16x8.add(s, p) : p;
  }
  /** The integers of a group from its sum, or from its first half and the sum of the second. */
  @inline static integers<T extends GroupCodec>(
    first: v128,
    s: v128,
    scales: usize,
    sums: usize,
  ): v128 {
    if (changetype<T>(0).pairs == 8) return Eights.whole<T>(s, sums);
    return i32x4.add(first, Eights.half<T>(s, 1, scales, sums));
  }

  /** y[0..n) = the first n lanes, any n. */
  @inline static put(y: usize, v: v128, n: i32): void {
    if (n > 0) V.storeLanes(y, v, min(n, 4));
  }
}

/**
 * n of eight rows at u with the two positions at x. The results of the second four rows are `yApart` bytes
 * beyond those of the first.
 *
 * V8 before Node 24 moves all loads of a basic block to its beginning. If a group is one block, these are
 * more than there are registers, and the alternative, a loop, adds half of the time again. So the code has
 * branches that are always taken, which no compiler can know: no address is 1, 2 or 3. That is 1.3 times
 * as fast.
 */
function dots8x2<T extends GroupCodec>(
  y0: usize,
  y1: usize,
  yApart: usize,
  n: i32,
  x: usize,
  u: usize,
  groups: i32,
): void {
  const carry = changetype<T>(0).pairs == 8;
  const scalesAt: usize = 16 + G.leastBytes<T>();
  const head0At = Eights.head<T>(false);
  const head1At = Eights.head<T>(true);
  let a00 = f32x4.splat(0);
  let a01 = f32x4.splat(0);
  let a10 = f32x4.splat(0);
  let a11 = f32x4.splat(0);
  const end = u + <usize>groups * Eights.bytes<T>();
  while (u < end) {
    let d00 = i32x4.splat(0);
    let d01 = i32x4.splat(0);
    let d10 = i32x4.splat(0);
    let d11 = i32x4.splat(0);
    let w0 = v128.load(u);
    let w1 = v128.load(u, 16);
    let v0 = v128.load_splat<u32>(x);
    let v1 = v128.load_splat<u32>(x, 4);
    let s00 = I.pairs(v0, w0);
    let s01 = I.pairs(v1, w0);
    let s10 = I.pairs(v0, w1);
    let s11 = I.pairs(v1, w1);
    w0 = v128.load(u, 32);
    w1 = v128.load(u, 48);
    v0 = v128.load_splat<u32>(x, 8);
    v1 = v128.load_splat<u32>(x, 12);
    s00 = i16x8.add(s00, I.pairs(v0, w0));
    s01 = i16x8.add(s01, I.pairs(v1, w0));
    s10 = i16x8.add(s10, I.pairs(v0, w1));
    s11 = i16x8.add(s11, I.pairs(v1, w1));
    if (x != 1) {
      w0 = v128.load(u, 64);
      w1 = v128.load(u, 80);
      v0 = v128.load_splat<u32>(x, 16);
      v1 = v128.load_splat<u32>(x, 20);
      s00 = i16x8.add(s00, I.pairs(v0, w0));
      s01 = i16x8.add(s01, I.pairs(v1, w0));
      s10 = i16x8.add(s10, I.pairs(v0, w1));
      s11 = i16x8.add(s11, I.pairs(v1, w1));
      w0 = v128.load(u, 96);
      w1 = v128.load(u, 112);
      v0 = v128.load_splat<u32>(x, 24);
      v1 = v128.load_splat<u32>(x, 28);
      s00 = i16x8.add(s00, I.pairs(v0, w0));
      s01 = i16x8.add(s01, I.pairs(v1, w0));
      s10 = i16x8.add(s10, I.pairs(v0, w1));
      s11 = i16x8.add(s11, I.pairs(v1, w1));
    }
    if (x != 2) {
      if (!carry) {
        d00 = Eights.half<T>(s00, 0, u + head0At + scalesAt, x + SUMS0);
        d01 = Eights.half<T>(s01, 0, u + head0At + scalesAt, x + SUMS1);
        d10 = Eights.half<T>(s10, 0, u + head1At + scalesAt, x + SUMS0);
        d11 = Eights.half<T>(s11, 0, u + head1At + scalesAt, x + SUMS1);
      }
      w0 = v128.load(u, 128);
      w1 = v128.load(u, 144);
      v0 = v128.load_splat<u32>(x, 32);
      v1 = v128.load_splat<u32>(x, 36);
      s00 = Eights.next<T>(s00, I.pairs(v0, w0));
      s01 = Eights.next<T>(s01, I.pairs(v1, w0));
      s10 = Eights.next<T>(s10, I.pairs(v0, w1));
      s11 = Eights.next<T>(s11, I.pairs(v1, w1));
      w0 = v128.load(u, 160);
      w1 = v128.load(u, 176);
      v0 = v128.load_splat<u32>(x, 40);
      v1 = v128.load_splat<u32>(x, 44);
      s00 = i16x8.add(s00, I.pairs(v0, w0));
      s01 = i16x8.add(s01, I.pairs(v1, w0));
      s10 = i16x8.add(s10, I.pairs(v0, w1));
      s11 = i16x8.add(s11, I.pairs(v1, w1));
    }
    if (x != 3) {
      w0 = v128.load(u, 192);
      w1 = v128.load(u, 208);
      v0 = v128.load_splat<u32>(x, 48);
      v1 = v128.load_splat<u32>(x, 52);
      s00 = i16x8.add(s00, I.pairs(v0, w0));
      s01 = i16x8.add(s01, I.pairs(v1, w0));
      s10 = i16x8.add(s10, I.pairs(v0, w1));
      s11 = i16x8.add(s11, I.pairs(v1, w1));
      w0 = v128.load(u, 224);
      w1 = v128.load(u, 240);
      v0 = v128.load_splat<u32>(x, 56);
      v1 = v128.load_splat<u32>(x, 60);
      s00 = i16x8.add(s00, I.pairs(v0, w0));
      s01 = i16x8.add(s01, I.pairs(v1, w0));
      s10 = i16x8.add(s10, I.pairs(v0, w1));
      s11 = i16x8.add(s11, I.pairs(v1, w1));
    }
    const head0 = u + head0At;
    const head1 = u + head1At;
    const sums0 = x + SUMS0;
    const sums1 = x + SUMS1;
    d00 = Eights.integers<T>(d00, s00, head0 + scalesAt, sums0);
    d01 = Eights.integers<T>(d01, s01, head0 + scalesAt, sums1);
    d10 = Eights.integers<T>(d10, s10, head1 + scalesAt, sums0);
    d11 = Eights.integers<T>(d11, s11, head1 + scalesAt, sums1);
    const scale0 = x + SCALE0;
    const scale1 = x + SCALE1;
    a00 = Heads.with<T>(a00, d00, head0, scale0, sums0);
    a01 = Heads.with<T>(a01, d01, head0, scale1, sums1);
    a10 = Heads.with<T>(a10, d10, head1, scale0, sums0);
    a11 = Heads.with<T>(a11, d11, head1, scale1, sums1);
    u += Eights.bytes<T>();
    x += QUANTISED_PAIR_BYTES;
  }
  Eights.put(y0, a00, n);
  Eights.put(y0 + yApart, a10, n - 4);
  if (y0 == y1) return;
  Eights.put(y1, a01, n);
  Eights.put(y1 + yApart, a11, n - 4);
}

/**
 * Products of n of eight unpacked rows with the quantised positions at x, pairs of which are `pairBytes`
 * apart. The results of the second four rows are `yApart` bytes beyond those of the first.
 */
export function dots8<T extends GroupCodec>(
  y: usize,
  yBytes: usize,
  yApart: usize,
  positions: i32,
  n: i32,
  x: usize,
  pairBytes: usize,
  unpacked: usize,
  groups: i32,
): void {
  for (let p = 0; p < positions; p += 2) {
    const y0 = y + <usize>p * yBytes;
    const y1 = p + 1 < positions ? y0 + yBytes : y0;
    dots8x2<T>(y0, y1, yApart, n, x, unpacked, groups);
    x += pairBytes;
  }
}
