/**
 * Activations to be multiplied with rows in GGUF's block formats: quantised to i8, in groups of 32 with one
 * f32 scale each, and with the sums by which the weights' offsets and least values are multiplied.
 *
 *     one position:                 | 32 x i8 | scale | sums | 4 unused bytes |
 *     from two on, by pairs:        | 4 x i8 of the first | 4 x i8 of the second | 4 of the first ... |
 *                                   | scale | scale | sums | sums |
 *
 *     sums, of each run:  least values: scale times the sum, f32
 *                         offsets: -offset times the sums of activations 0, 1, 4, 5, 8, ...
 *                         and of activations 2, 3, 6, 7, ..., i16 each
 *
 * With an odd number of positions the last one is a pair by itself. Quantising takes as long as products with
 * tens of rows, so it is done once for all products with the same input and for all threads of a product.
 */
import {
  PAIRED_POSITIONS,
  QUANTISED_GROUP,
  QUANTISED_GROUP_BYTES,
  QUANTISED_PAIR_BYTES,
} from './exports/shared-constants';
import { GroupCodec } from './group';
import { V } from './vector';

/** Offsets of the scale and the sums in a group of one position. */
export const SCALE: usize = 32;
export const SUMS: usize = 36;
/** Offsets of both positions' scales and sums in a group of two positions. */
export const SCALE0: usize = 64;
export const SCALE1: usize = 68;
export const SUMS0: usize = 72;
export const SUMS1: usize = 80;
/** Activations are -127 to 127. */
const LEVELS: f32 = 127;
/** A group whose activations are all smaller than this is taken for 0: 2^-100. */
const X_MIN: f32 = 7.888609052210118e-31;

/** Steps of quantisation. */
abstract class Activations {
  /** Eight activations as i16: products of at most 127 to nearest, ties to even. */
  @inline static eight(x: usize, factor: v128): v128 {
    return i16x8.narrow_i32x4_s(
      V.integers(f32x4.mul(v128.load(x), factor)),
      V.integers(f32x4.mul(v128.load(x, 16), factor)),
    );
  }

  /**
   * The larger magnitude of each pair among eight activations. Compared as integers, magnitudes have the same
   * order, and NaN is the largest; f32x4.max would take eight instructions.
   */
  @inline static larger(x: usize): v128 {
    return i32x4.max_s(f32x4.abs(v128.load(x)), f32x4.abs(v128.load(x, 16)));
  }

  /** Four bytes of `sums` for a run whose pairs of activations have these sums. */
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
  let top4 = i32x4.max_s(Activations.larger(x), Activations.larger(x + 32));
  top4 = i32x4.max_s(top4, i32x4.max_s(Activations.larger(x + 64), Activations.larger(x + 96)));
  top4 = i32x4.max_s(top4, i32x4.shuffle(top4, top4, 2, 3, 0, 1));
  top4 = i32x4.max_s(top4, i32x4.shuffle(top4, top4, 1, 0, 3, 2));
  const top = f32x4.extract_lane(top4, 0);
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
  for (let left = groups; left > 0; left--) {
    quantiseGroup<T>(q, x, q + SCALE, q + SUMS);
    x += 128;
    q += QUANTISED_GROUP_BYTES;
  }
}

/** Quantises `groups` groups of each of `positions` positions, `xBytes` apart, to pairs `pairBytes` apart. */
export function quantisePairs<T extends GroupCodec>(
  q: usize,
  pairBytes: usize,
  x: usize,
  groups: i32,
  positions: i32,
  xBytes: usize,
): void {
  for (let p = 0; p < positions; p += 2) {
    let x0 = x + <usize>p * xBytes;
    let x1 = x + <usize>min(p + 1, positions - 1) * xBytes;
    const end = q + <usize>groups * QUANTISED_PAIR_BYTES;
    for (let at = q; at < end; at += QUANTISED_PAIR_BYTES) {
      quantiseGroup<T>(at, x0, at + SCALE0, at + SUMS0);
      quantiseGroup<T>(at + 32, x1, at + SCALE1, at + SUMS1);
      const a0 = v128.load(at);
      const a1 = v128.load(at, 16);
      const b0 = v128.load(at, 32);
      const b1 = v128.load(at, 48);
      v128.store(at, i32x4.shuffle(a0, b0, 0, 4, 1, 5));
      v128.store(at, i32x4.shuffle(a0, b0, 2, 6, 3, 7), 16);
      v128.store(at, i32x4.shuffle(a1, b1, 0, 4, 1, 5), 32);
      v128.store(at, i32x4.shuffle(a1, b1, 2, 6, 3, 7), 48);
      x0 += 128;
      x1 += 128;
    }
    q += pairBytes;
  }
}

/** Offset of the activations of quantised positions after the first `columns` columns. */
export function quantisedOffset(columns: usize, positions: i32): usize {
  const groups = columns / <usize>QUANTISED_GROUP;
  return groups * (positions < PAIRED_POSITIONS ? QUANTISED_GROUP_BYTES : QUANTISED_PAIR_BYTES);
}

/**
 * Quantises `cols` columns of x, which has `positions` rows of `xStride` elements, to their place in the
 * quantised rows at q. Both column counts are whole groups.
 */
export function quantiseInput<T extends GroupCodec>(
  q: usize,
  x: usize,
  cols: i32,
  positions: i32,
  xStride: usize,
): void {
  const groups = cols / QUANTISED_GROUP;
  const bytes = quantisedOffset(xStride, positions);
  if (positions >= PAIRED_POSITIONS) {
    quantisePairs<T>(q, bytes, x, groups, positions, xStride << 2);
    return;
  }
  for (let p = 0; p < positions; p++) {
    quantise<T>(q, x, groups);
    q += bytes;
    x += xStride << 2;
  }
}
