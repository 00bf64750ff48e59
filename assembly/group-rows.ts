/** Converts rows in GGUF's block formats to f32, exactly as the formats define them. */
import { ZERO } from './constants';
import { G, GroupCodec } from './group';

/** Weights of a group as f32. */
abstract class Values {
  /** Stores 16 weights: f q + m. */
  @inline static store16(dst: usize, q: v128, offset: v128, f: v128, m: v128, least: bool): void {
    const low = i16x8.sub(i16x8.extend_low_i8x16_u(q), offset);
    const high = i16x8.sub(i16x8.extend_high_i8x16_u(q), offset);
    Values.store4(dst, i32x4.extend_low_i16x8_s(low), f, m, least);
    Values.store4(dst + 16, i32x4.extend_high_i16x8_s(low), f, m, least);
    Values.store4(dst + 32, i32x4.extend_low_i16x8_s(high), f, m, least);
    Values.store4(dst + 48, i32x4.extend_high_i16x8_s(high), f, m, least);
  }

  /** The product is exact: at most 24 bits. */
  @inline static store4(dst: usize, q: v128, f: v128, m: v128, least: bool): void {
    const product = f32x4.mul(f, f32x4.convert_i32x4_s(q));
    v128.store(dst, least ? f32x4.add(product, m) : product);
  }

  /** dst = group 4 h + g of the block at w, whose head, of four times the same row, is at `head`. */
  @inline static group<T extends GroupCodec>(
    dst: usize,
    head: usize,
    w: usize,
    h: usize,
    g: i32,
    low: v128,
    high: v128,
    offset: v128,
  ): void {
    const t = changetype<T>(0);
    const least = t.least != 0;
    const f = v128.load(head);
    let f0 = f;
    let f1 = f;
    if (t.scaled) {
      // Each row's scale is stored as two i16: the upper one of a word is the scale, shifted.
      const s = head + 16 + G.leastBytes<T>();
      f0 = f32x4.mul(f, f32x4.convert_i32x4_s(i32x4.shr_s(v128.load(s), 16)));
      f1 = f32x4.mul(f, f32x4.convert_i32x4_s(i32x4.shr_s(v128.load(s, 16), 16)));
    }
    const m0 = least ? v128.load(head, 16) : f;
    const m1 = least && t.runs == 2 ? v128.load(head, 32) : m0;
    Values.store16(dst, t.half(w, h, g, 0, low, high), offset, f0, m0, least);
    Values.store16(dst + 64, t.half(w, h, g, 1, low, high), offset, f1, m1, least);
  }
}

/**
 * Writes the row of n weights at src as f32 to dst; n is a multiple of the block size. The heads of a block
 * are kept in the place of its last weights: each is read before that place is overwritten.
 */
export function groupsToF32<T extends GroupCodec>(dst: usize, src: usize, n: i32): void {
  const t = changetype<T>(0);
  const low = t.low;
  const high = t.high;
  const offset = i16x8.splat(<i16>(t.offset | ZERO));
  const stride = G.headBytes<T>();
  const end = <usize>t.groups * (128 - stride);
  for (let left = n; left > 0; left -= t.groups * 32) {
    let head = dst + end;
    t.heads(head, stride, src, src, src, src);
    if (t.groups == 1) {
      Values.group<T>(dst, head, src, 0, 0, low, high, offset);
      dst += 128;
    } else {
      for (let h: usize = 0; h < 2; h++) {
        Values.group<T>(dst, head, src, h, 0, low, high, offset);
        Values.group<T>(dst + 128, head + stride, src, h, 1, low, high, offset);
        Values.group<T>(dst + 256, head + 2 * stride, src, h, 2, low, high, offset);
        Values.group<T>(dst + 384, head + 3 * stride, src, h, 3, low, high, offset);
        dst += 512;
        head += 4 * stride;
      }
    }
    src += t.bytes;
  }
}

/** Index of the first of n weights whose block has a factor that is NaN or infinite, or -1. */
export function firstNonFiniteGroups<T extends GroupCodec>(src: usize, n: i32): i32 {
  const t = changetype<T>(0);
  for (let i = 0; i < n; i += t.groups * 32) {
    if (!t.finite(src)) return i;
    src += t.bytes;
  }
  return -1;
}
