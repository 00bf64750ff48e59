/**
 * Dot products of rows in GGUF's block formats with quantised activations, in integers, as block-dot.ts has
 * them for the formats of block.ts.
 *
 * Products of 8 bits are added up in pairs, as i16: that is one instruction on any processor, while V8
 * before Node 24 implements the one that adds four products to i32 with four instructions. Pairs are
 * added up as long as their sum fits i16; with an offset, only the sum less the offset has to fit, since
 * overflow in between cancels. The integer of a group is exact, and a row's sum is made in f32, one
 * group after the other:
 *
 *     y += (factor scale) integer;   y += least sum, for each run
 *
 * Four rows take the four lanes of a vector. So every y is the same to the bit however rows and
 * positions are split, whether weights are used as they lie or unpacked.
 */
import { ZERO } from './constants';
import { QUANTISED_GROUP_BYTES } from './exports/shared-constants';
import { G, GroupCodec } from './group';
import { SCALE, SUMS } from './group-activations';
import { V } from './vector';

export abstract class I {
  /** Sums of pairs of products, i16: of activations and of weights below 128. */
  @inline static pairs(x: v128, w: v128): v128 {
    if (ASC_FEATURE_RELAXED_SIMD) return i16x8.relaxed_dot_i8x16_i7x16_s(x, w);
    const even = i16x8.mul(i16x8.shr_s(i16x8.shl(x, 8), 8), v128.and(w, i16x8.splat(255)));
    return i16x8.add(even, i16x8.mul(i16x8.shr_s(x, 8), i16x8.shr_u(w, 8)));
  }
  /** Lane i of the result is the sum of the lanes of a_i. */
  @inline static sums(a0: v128, a1: v128, a2: v128, a3: v128): v128 {
    const s01 = i32x4.add(i32x4.shuffle(a0, a1, 0, 4, 1, 5), i32x4.shuffle(a0, a1, 2, 6, 3, 7));
    const s23 = i32x4.add(i32x4.shuffle(a2, a3, 0, 4, 1, 5), i32x4.shuffle(a2, a3, 2, 6, 3, 7));
    return i32x4.add(i32x4.shuffle(s01, s23, 0, 1, 4, 5), i32x4.shuffle(s01, s23, 2, 3, 6, 7));
  }
}

/** Arithmetic with heads. */
export abstract class Heads {
  /** Four rows' sums with the quantised group at x; the integers of both are `d`. */
  @inline static added<T extends GroupCodec>(acc: v128, d: v128, head: usize, x: usize): v128 {
    return Heads.with<T>(acc, d, head, x + SCALE, x + SUMS);
  }
  /** The same, with scale and sums of the group at other addresses. */
  @inline static with<T extends GroupCodec>(
    acc: v128,
    d: v128,
    head: usize,
    scale: usize,
    sums: usize,
  ): v128 {
    const t = changetype<T>(0);
    const f = f32x4.mul(v128.load(head), v128.load_splat<f32>(scale));
    acc = V.madd(acc, f, f32x4.convert_i32x4_s(d));
    if (t.least != 0) {
      acc = V.madd(acc, v128.load(head, 16), v128.load_splat<f32>(sums));
      if (t.runs == 2) acc = V.madd(acc, v128.load(head, 32), v128.load_splat<f32>(sums, 4));
    }
    return acc;
  }
}

/** Products with groups in their stored form. */
abstract class Stored {
  /**
   * The integer of a group of one row, in four parts: group 4 h + g of the block at w, the g-th of the
   * activations at x. Its scales, if any, are at `scales`.
   */
  @inline static integer<T extends GroupCodec>(
    w: usize,
    h: usize,
    g: i32,
    x: usize,
    scales: usize,
    low: v128,
    high: v128,
    centre: v128,
  ): v128 {
    const t = changetype<T>(0);
    const at = x + <usize>g * QUANTISED_GROUP_BYTES;
    const x0 = v128.load(at);
    const x1 = v128.load(at, 16);
    let p0 = I.pairs(x0, t.half(w, h, g, 0, low, high));
    let p1 = I.pairs(x1, t.half(w, h, g, 1, low, high));
    if (t.scaled) {
      if (t.offset != 0) {
        p0 = i16x8.sub(p0, I.pairs(x0, centre));
        p1 = i16x8.sub(p1, I.pairs(x1, centre));
      }
      return i32x4.add(
        i32x4.dot_i16x8_s(p0, v128.load_splat<u32>(scales)),
        i32x4.dot_i16x8_s(p1, v128.load_splat<u32>(scales, 16)),
      );
    }
    let p = i16x8.add(p0, p1);
    if (t.offset != 0) p = i16x8.sub(p, i16x8.add(I.pairs(x0, centre), I.pairs(x1, centre)));
    return i32x4.extadd_pairwise_i16x8_s(p);
  }

  /** Lane g: the integer of group 4 h + g of one row. */
  @inline static four<T extends GroupCodec>(
    w: usize,
    h: usize,
    x: usize,
    scales: usize,
    low: v128,
    high: v128,
    centre: v128,
    room: usize,
  ): v128 {
    const stride = G.headBytes<T>();
    const q0 = Stored.integer<T>(w, h, 0, x, scales, low, high, centre);
    const q1 = Stored.integer<T>(w, h, 1, x, scales + stride, low, high, centre);
    v128.store(room, q0);
    v128.store(room, q1, 16);
    const q2 = Stored.integer<T>(w, h, 2, x, scales + 2 * stride, low, high, centre);
    const q3 = Stored.integer<T>(w, h, 3, x, scales + 3 * stride, low, high, centre);
    return I.sums(v128.load(room), v128.load(room, 16), q2, q3);
  }
}

/** Lane i: dot(w_i, x), x quantised; `head` has room for the heads of a block. */
export function dot4<T extends GroupCodec>(
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  x: usize,
  groups: i32,
  head: usize,
): v128 {
  const t = changetype<T>(0);
  const low = t.low;
  const high = t.high;
  const centre = i8x16.splat(<i8>(t.offset | ZERO));
  const stride = G.headBytes<T>();
  const rows = head + 768;
  let acc = f32x4.splat(0);
  for (let left = groups; left > 0; left -= t.groups) {
    t.heads(head, stride, w0, w1, w2, w3);
    if (t.groups == 1) {
      const d0 = Stored.integer<T>(w0, 0, 0, x, head, low, high, centre);
      const d1 = Stored.integer<T>(w1, 0, 0, x, head, low, high, centre);
      const d2 = Stored.integer<T>(w2, 0, 0, x, head, low, high, centre);
      const d3 = Stored.integer<T>(w3, 0, 0, x, head, low, high, centre);
      acc = Heads.added<T>(acc, I.sums(d0, d1, d2, d3), head, x);
      x += QUANTISED_GROUP_BYTES;
    } else {
      // Row by row, since four groups share bytes: those of four rows are too many for registers.
      let at = head;
      for (let h: usize = 0; h < 2; h++) {
        const scales = at + 16 + G.leastBytes<T>();
        v128.store(rows, Stored.four<T>(w0, h, x, scales, low, high, centre, rows + 64));
        v128.store(rows, Stored.four<T>(w1, h, x, scales + 4, low, high, centre, rows + 64), 16);
        v128.store(rows, Stored.four<T>(w2, h, x, scales + 8, low, high, centre, rows + 64), 32);
        v128.store(rows, Stored.four<T>(w3, h, x, scales + 12, low, high, centre, rows + 64), 48);
        const r0 = v128.load(rows);
        const r1 = v128.load(rows, 16);
        const r2 = v128.load(rows, 32);
        const r3 = v128.load(rows, 48);
        const a = i32x4.shuffle(r0, r1, 0, 4, 1, 5);
        const b = i32x4.shuffle(r2, r3, 0, 4, 1, 5);
        const c = i32x4.shuffle(r0, r1, 2, 6, 3, 7);
        const d = i32x4.shuffle(r2, r3, 2, 6, 3, 7);
        const g0 = i32x4.shuffle(a, b, 0, 1, 4, 5);
        const g1 = i32x4.shuffle(a, b, 2, 3, 6, 7);
        const g2 = i32x4.shuffle(c, d, 0, 1, 4, 5);
        const g3 = i32x4.shuffle(c, d, 2, 3, 6, 7);
        acc = Heads.added<T>(acc, g0, at, x);
        acc = Heads.added<T>(acc, g1, at + stride, x + QUANTISED_GROUP_BYTES);
        acc = Heads.added<T>(acc, g2, at + 2 * stride, x + 2 * QUANTISED_GROUP_BYTES);
        acc = Heads.added<T>(acc, g3, at + 3 * stride, x + 3 * QUANTISED_GROUP_BYTES);
        at += 4 * stride;
        x += 4 * QUANTISED_GROUP_BYTES;
      }
    }
    w0 += t.bytes;
    w1 += t.bytes;
    w2 += t.bytes;
    w3 += t.bytes;
  }
  return acc;
}
