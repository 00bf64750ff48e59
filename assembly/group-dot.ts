/**
 * Dot products of rows in GGUF's block formats with activations, in integers: what block-dot.ts is for
 * the formats of block.ts.
 *
 * Activations are quantised to i8, in groups of 32 with one f32 scale each, and with what the weights'
 * offsets and least values are multiplied with:
 *
 *     scratch = position p:  | 32 x i8 | 32 x i8 | ... | scale | scale | ... | sums | sums | ...
 *
 *     sums, 8 bytes, of each run:  least values: scale times the sum, f32
 *                                  offsets: -offset times the sums of activations 0, 1, 4, 5, 8, ...
 *                                  and of activations 2, 3, 6, 7, ..., i16 each
 *
 * Products of 8 bits are added up in pairs, as i16: one instruction on any processor, where the one
 * that adds four products to i32 is made of four by V8 before Node 24. Pairs are added up as long as
 * their sum fits i16; with an offset it is the sum less the offset that has to fit, since what runs
 * over in between comes back. The integer of a group is exact, and a row's sum is made in f32, one
 * group after the other:
 *
 *     y += (factor scale) integer;   y += least sum, for each run
 *
 * Four rows take the four lanes of a vector. So every y is the same to the bit however rows and
 * positions are split, whether weights are used as they lie or unpacked.
 */
import { ZERO } from './constants';
import { ACTIVATION_SCALE_BYTES } from './exports/shared-constants';
import { G, GroupCodec } from './group';
import { V } from './vector';

/** Weights of a group, and the bytes of as many activations. */
export const GROUP: i32 = 32;
/** Bytes of the sums of a group's activations. */
export const SUM_BYTES: usize = 8;
/** Activations are -127 to 127. */
const LEVELS: f32 = 127;
/** 1.5 2^23, and its bits. */
const ROUNDING: f32 = 12582912;
const ROUNDING_BITS: i32 = 0x4b400000;
/** Activations that are smaller than this throughout a group are taken for 0: 2^-100. */
const X_MIN: f32 = 7.888609052210118e-31;

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

/** Activations as they are quantised. */
export abstract class Activations {
  /** Bytes of `groups` groups of quantised activations. */
  @inline static bytes(groups: i32): usize {
    return <usize>groups * (<usize>GROUP + ACTIVATION_SCALE_BYTES + SUM_BYTES);
  }

  /** Where the scales of quantised activations at x are, and the sums. */
  @inline static scales(x: usize, groups: i32): usize {
    return x + <usize>(groups * GROUP);
  }
  @inline static sums(x: usize, groups: i32): usize {
    return Activations.scales(x, groups) + <usize>groups * ACTIVATION_SCALE_BYTES;
  }

  /** Eight activations as i16: products of at most 127 to nearest, ties to even. */
  @inline static eight(x: usize, factor: v128): v128 {
    return i16x8.narrow_i32x4_s(
      Activations.integers(f32x4.mul(v128.load(x), factor)),
      Activations.integers(f32x4.mul(v128.load(x, 16), factor)),
    );
  }
  /** Behind the addition, which rounds, the integer stands in the lower bits: a conversion takes longer. */
  @inline static integers(v: v128): v128 {
    return i32x4.sub(f32x4.add(v, f32x4.splat(ROUNDING)), i32x4.splat(ROUNDING_BITS));
  }

  /** Four bytes of `sums`, of a run whose pairs of activations have these sums. */
  @inline static storeSums<T extends GroupCodec>(sums: usize, pairs: v128, step: f32): void {
    const t = changetype<T>(0);
    const four = i16x8.add(pairs, i32x4.shuffle(pairs, pairs, 2, 3, 0, 1));
    const two = i16x8.add(four, i32x4.shuffle(four, four, 1, 0, 3, 2));
    if (t.least != 0) {
      const all = i16x8.extract_lane_s(two, 0) + i16x8.extract_lane_s(two, 1);
      store<f32>(sums, <f32>all * step);
    } else {
      v128.store_lane<i32>(sums, i16x8.mul(two, i16x8.splat(<i16>-t.offset)), 0);
    }
  }
}

/** Quantises the group of activations at x to 32 bytes at `q`, and stores its scale and its sums. */
export function quantiseGroup<T extends GroupCodec>(
  q: usize,
  x: usize,
  scale: usize,
  sums: usize,
): void {
  const t = changetype<T>(0);
  let top4 = f32x4.splat(0);
  for (let c: usize = 0; c < 128; c += 16) {
    top4 = f32x4.max(top4, f32x4.abs(v128.load(x + c)));
  }
  top4 = f32x4.max(top4, i32x4.shuffle(top4, top4, 2, 3, 0, 1));
  const top = max(f32x4.extract_lane(top4, 0), f32x4.extract_lane(top4, 1));
  // NaN and infinity make the scale NaN, and with it every result.
  const small = top < X_MIN;
  const factor = f32x4.splat(small ? 0 : LEVELS / top);
  const step: f32 = small ? 0 : top * (<f32>1 / LEVELS) + (top - top);
  store<f32>(scale, step);
  const q0 = i8x16.narrow_i16x8_s(Activations.eight(x, factor), Activations.eight(x + 32, factor));
  const q1 = i8x16.narrow_i16x8_s(
    Activations.eight(x + 64, factor),
    Activations.eight(x + 96, factor),
  );
  v128.store(q, q0);
  v128.store(q, q1, 16);
  // Even lanes: activations 0, 1, 4, 5, ...
  const s0 = i16x8.extadd_pairwise_i8x16_s(q0);
  const s1 = i16x8.extadd_pairwise_i8x16_s(q1);
  if (t.runs == 1) {
    Activations.storeSums<T>(sums, i16x8.add(s0, s1), step);
  } else {
    Activations.storeSums<T>(sums, s0, step);
    Activations.storeSums<T>(sums + 4, s1, step);
  }
}

/** Quantises `groups` groups of activations at x to `q`. */
export function quantise<T extends GroupCodec>(q: usize, x: usize, groups: i32): void {
  let scale = Activations.scales(q, groups);
  let sums = Activations.sums(q, groups);
  for (let left = groups; left > 0; left--) {
    quantiseGroup<T>(q, x, scale, sums);
    x += 128;
    q += GROUP;
    scale += ACTIVATION_SCALE_BYTES;
    sums += SUM_BYTES;
  }
}

/** Heads at work. */
export abstract class Heads {
  /** Four rows' sums with a group, whose integers are `d`. */
  @inline static added<T extends GroupCodec>(
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

/** Groups where they lie. */
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
    const x0 = v128.load(x + ((<usize>g) << 5));
    const x1 = v128.load(x + ((<usize>g) << 5), 16);
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
  let scale = Activations.scales(x, groups);
  let sums = Activations.sums(x, groups);
  for (let left = groups; left > 0; left -= t.groups) {
    t.heads(head, stride, w0, w1, w2, w3);
    if (t.groups == 1) {
      const d0 = Stored.integer<T>(w0, 0, 0, x, head, low, high, centre);
      const d1 = Stored.integer<T>(w1, 0, 0, x, head, low, high, centre);
      const d2 = Stored.integer<T>(w2, 0, 0, x, head, low, high, centre);
      const d3 = Stored.integer<T>(w3, 0, 0, x, head, low, high, centre);
      acc = Heads.added<T>(acc, I.sums(d0, d1, d2, d3), head, scale, sums);
      x += 32;
      scale += 4;
      sums += 8;
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
        acc = Heads.added<T>(acc, g0, at, scale, sums);
        acc = Heads.added<T>(acc, g1, at + stride, scale + 4, sums + 8);
        acc = Heads.added<T>(acc, g2, at + 2 * stride, scale + 8, sums + 16);
        acc = Heads.added<T>(acc, g3, at + 3 * stride, scale + 12, sums + 24);
        at += 4 * stride;
        x += 128;
        scale += 16;
        sums += 32;
      }
    }
    w0 += t.bytes;
    w1 += t.bytes;
    w2 += t.bytes;
    w3 += t.bytes;
  }
  return acc;
}
