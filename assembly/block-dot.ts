/**
 * Dot products of quantised rows with activations, in integers, as dot.ts has them for the other formats.
 *
 * The activations are quantised first, in the same blocks of 32, to i16 with one f32 scale each:
 *
 *     scratch = position p:   | 32 x i16 | 32 x i16 | ... | scale | scale | ...     68 bytes a block
 *
 * For weights, whose integers are at most 8 bits, i16 activations are as good as f32 ones: their
 * error is a 65,000th (q4: a 16,000th) of the block's largest, the weights' a 250th (a 15th). They
 * are no slower than i8 ones, since the only integer dot product without relaxed SIMD is of i16.
 *
 * The dot product of a block is exact in four lanes of i32; converted and multiplied by both scales
 * it is added to the row's four f32 lanes, block by block in ascending order; the lanes are added as
 * (0 + 2) + (1 + 3). So every y is the same to the bit however rows and positions are split.
 */
import { BLOCK, BlockCodec } from './block';
import { BF16_BITS, NIBBLE } from './constants';
import { ACTIVATION_BLOCK_BYTES, ACTIVATION_SCALE_BYTES } from './exports/shared-constants';
import { V } from './vector';
import { Width } from './width';

/** A block whose activations are all smaller than this is taken for 0: 2^-100. */
const X_MIN: f32 = 7.888609052210118e-31;

export abstract class Blocks {
  /** Blocks of a row of `cols` weights. */
  @inline static count(cols: i32): i32 {
    return (cols + (BLOCK - 1)) >> 5;
  }

  /** Bytes of `cols` quantised activations. */
  @inline static xBytes(cols: i32): usize {
    return <usize>Blocks.count(cols) * (ACTIVATION_BLOCK_BYTES + ACTIVATION_SCALE_BYTES);
  }

  /** Dot product of the block at `w`, opened, with activations, as f32, multiplied by 1 / unit. */
  @inline static dot<T extends BlockCodec>(
    w: usize,
    x0: v128,
    x1: v128,
    x2: v128,
    x3: v128,
    nibble: v128,
  ): v128 {
    const t = changetype<T>(0);
    const o = t.open(w);
    const a = i32x4.dot_i16x8_s(t.part(w, o, 0, nibble), x0);
    const b = i32x4.dot_i16x8_s(t.part(w, o, 1, nibble), x1);
    const c = i32x4.dot_i16x8_s(t.part(w, o, 2, nibble), x2);
    const d = i32x4.dot_i16x8_s(t.part(w, o, 3, nibble), x3);
    return f32x4.convert_i32x4_s(i32x4.add(i32x4.add(a, b), i32x4.add(c, d)));
  }
}

/** Quantises activations x[0..cols) to `q`, where blocks x 68 bytes are free. */
function quantise<T extends BlockCodec>(q: usize, x: usize, cols: i32): void {
  const t = changetype<T>(0);
  const blocks = Blocks.count(cols);
  let scale = q + <usize>blocks * ACTIVATION_BLOCK_BYTES;
  for (let left = cols; left > 0; left -= BLOCK) {
    const n = min(left, BLOCK);
    let top4 = i32x4.splat(0);
    for (let c = 0; c < n; c += 4) {
      top4 = i32x4.max_s(top4, f32x4.abs(V.loadLanes(x + ((<usize>c) << 2), n - c)));
    }
    top4 = i32x4.max_s(top4, i32x4.shuffle(top4, top4, 2, 3, 0, 1));
    top4 = i32x4.max_s(top4, i32x4.shuffle(top4, top4, 1, 0, 3, 2));
    const top = f32x4.extract_lane(top4, 0);
    // NaN and infinity make the scale NaN, and with it every result.
    const small = top < X_MIN;
    const factor = f32x4.splat(small ? 0 : t.levels / top);
    store<f32>(scale, small ? 0 : top * (t.unit / t.levels) + (top - top));
    for (let c = 0; c < BLOCK; c += 8) {
      const at = x + ((<usize>c) << 2);
      const low = V.integers(f32x4.mul(V.loadLanes(at, n - c), factor));
      const high = V.integers(f32x4.mul(V.loadLanes(at + 16, n - c - 4), factor));
      v128.store(q, i16x8.narrow_i32x4_s(low, high));
      q += 16;
    }
    x += BLOCK << 2;
    scale += ACTIVATION_SCALE_BYTES;
  }
}

/**
 * Quantises the activations of several positions to `q`, one position after the other. xStride in
 * elements.
 */
export function quantiseAll<T extends BlockCodec>(
  q: usize,
  x: usize,
  cols: i32,
  positions: i32,
  xStride: usize,
): void {
  const xBytes = Blocks.xBytes(cols);
  for (let p = 0; p < positions; p++) {
    quantise<T>(q + <usize>p * xBytes, x + ((<usize>p * xStride) << 2), cols);
  }
}

/** Lane i: dot(w_i, x), x quantised. */
export function dot4<T extends BlockCodec>(
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  x: usize,
  blocks: i32,
): v128 {
  const t = changetype<T>(0);
  const nibble = NIBBLE;
  const upper = BF16_BITS;
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  let scale = x + <usize>blocks * ACTIVATION_BLOCK_BYTES;
  for (let left = blocks; left > 0; left--) {
    const x0 = v128.load(x);
    const x1 = v128.load(x, 16);
    const x2 = v128.load(x, 32);
    const x3 = v128.load(x, 48);
    const s = v128.load_splat<f32>(scale);
    a0 = V.madd(a0, f32x4.mul(t.scale(w0, upper), s), Blocks.dot<T>(w0, x0, x1, x2, x3, nibble));
    a1 = V.madd(a1, f32x4.mul(t.scale(w1, upper), s), Blocks.dot<T>(w1, x0, x1, x2, x3, nibble));
    a2 = V.madd(a2, f32x4.mul(t.scale(w2, upper), s), Blocks.dot<T>(w2, x0, x1, x2, x3, nibble));
    a3 = V.madd(a3, f32x4.mul(t.scale(w3, upper), s), Blocks.dot<T>(w3, x0, x1, x2, x3, nibble));
    w0 += t.bytes;
    w1 += t.bytes;
    w2 += t.bytes;
    w3 += t.bytes;
    x += ACTIVATION_BLOCK_BYTES;
    scale += ACTIVATION_SCALE_BYTES;
  }
  return V.sums(a0, a1, a2, a3);
}

/**
 * dot(w_0, x_p) and dot(w_1, x_p), the latter `apart` bytes further, for two or three positions, as N says.
 */
export function dot2<T extends BlockCodec, N extends Width>(
  y: usize,
  yBytes: usize,
  apart: usize,
  w0: usize,
  w1: usize,
  x: usize,
  xBytes: usize,
  blocks: i32,
): void {
  const t = changetype<T>(0);
  const nibble = NIBBLE;
  const upper = BF16_BITS;
  const three = changetype<N>(0).positions > 2;
  let x0 = x;
  let x1 = x0 + xBytes;
  let x2 = x1 + xBytes;
  let a00 = f32x4.splat(0);
  let a01 = f32x4.splat(0);
  let a02 = f32x4.splat(0);
  let a10 = f32x4.splat(0);
  let a11 = f32x4.splat(0);
  let a12 = f32x4.splat(0);
  const scales = <usize>blocks * ACTIVATION_BLOCK_BYTES;
  let scale0 = x0 + scales;
  let scale1 = x1 + scales;
  let scale2 = x2 + scales;
  for (let left = blocks; left > 0; left--) {
    const o0 = t.open(w0);
    const o1 = t.open(w1);
    let p0 = t.part(w0, o0, 0, nibble);
    let p1 = t.part(w1, o1, 0, nibble);
    let v = v128.load(x0);
    let d00 = i32x4.dot_i16x8_s(p0, v);
    let d10 = i32x4.dot_i16x8_s(p1, v);
    v = v128.load(x1);
    let d01 = i32x4.dot_i16x8_s(p0, v);
    let d11 = i32x4.dot_i16x8_s(p1, v);
    let d02 = d00;
    let d12 = d10;
    if (three) {
      v = v128.load(x2);
      d02 = i32x4.dot_i16x8_s(p0, v);
      d12 = i32x4.dot_i16x8_s(p1, v);
    }
    if (x0 != 1) {
      p0 = t.part(w0, o0, 1, nibble);
      p1 = t.part(w1, o1, 1, nibble);
      v = v128.load(x0, 16);
      d00 = i32x4.add(d00, i32x4.dot_i16x8_s(p0, v));
      d10 = i32x4.add(d10, i32x4.dot_i16x8_s(p1, v));
      v = v128.load(x1, 16);
      d01 = i32x4.add(d01, i32x4.dot_i16x8_s(p0, v));
      d11 = i32x4.add(d11, i32x4.dot_i16x8_s(p1, v));
      if (three) {
        v = v128.load(x2, 16);
        d02 = i32x4.add(d02, i32x4.dot_i16x8_s(p0, v));
        d12 = i32x4.add(d12, i32x4.dot_i16x8_s(p1, v));
      }
    }
    if (x0 != 2) {
      p0 = t.part(w0, o0, 2, nibble);
      p1 = t.part(w1, o1, 2, nibble);
      v = v128.load(x0, 32);
      d00 = i32x4.add(d00, i32x4.dot_i16x8_s(p0, v));
      d10 = i32x4.add(d10, i32x4.dot_i16x8_s(p1, v));
      v = v128.load(x1, 32);
      d01 = i32x4.add(d01, i32x4.dot_i16x8_s(p0, v));
      d11 = i32x4.add(d11, i32x4.dot_i16x8_s(p1, v));
      if (three) {
        v = v128.load(x2, 32);
        d02 = i32x4.add(d02, i32x4.dot_i16x8_s(p0, v));
        d12 = i32x4.add(d12, i32x4.dot_i16x8_s(p1, v));
      }
    }
    if (x0 != 3) {
      p0 = t.part(w0, o0, 3, nibble);
      p1 = t.part(w1, o1, 3, nibble);
      v = v128.load(x0, 48);
      d00 = i32x4.add(d00, i32x4.dot_i16x8_s(p0, v));
      d10 = i32x4.add(d10, i32x4.dot_i16x8_s(p1, v));
      v = v128.load(x1, 48);
      d01 = i32x4.add(d01, i32x4.dot_i16x8_s(p0, v));
      d11 = i32x4.add(d11, i32x4.dot_i16x8_s(p1, v));
      if (three) {
        v = v128.load(x2, 48);
        d02 = i32x4.add(d02, i32x4.dot_i16x8_s(p0, v));
        d12 = i32x4.add(d12, i32x4.dot_i16x8_s(p1, v));
      }
    }
    const s0 = t.scale(w0, upper);
    const s1 = t.scale(w1, upper);
    v = v128.load_splat<f32>(scale0);
    a00 = V.madd(a00, f32x4.mul(s0, v), f32x4.convert_i32x4_s(d00));
    a10 = V.madd(a10, f32x4.mul(s1, v), f32x4.convert_i32x4_s(d10));
    v = v128.load_splat<f32>(scale1);
    a01 = V.madd(a01, f32x4.mul(s0, v), f32x4.convert_i32x4_s(d01));
    a11 = V.madd(a11, f32x4.mul(s1, v), f32x4.convert_i32x4_s(d11));
    if (three) {
      v = v128.load_splat<f32>(scale2);
      a02 = V.madd(a02, f32x4.mul(s0, v), f32x4.convert_i32x4_s(d02));
      a12 = V.madd(a12, f32x4.mul(s1, v), f32x4.convert_i32x4_s(d12));
      x2 += ACTIVATION_BLOCK_BYTES;
      scale2 += ACTIVATION_SCALE_BYTES;
    }
    w0 += t.bytes;
    w1 += t.bytes;
    x0 += ACTIVATION_BLOCK_BYTES;
    x1 += ACTIVATION_BLOCK_BYTES;
    scale0 += ACTIVATION_SCALE_BYTES;
    scale1 += ACTIVATION_SCALE_BYTES;
  }
  const s = V.sums(a00, a10, a01, a11);
  const y1 = y + yBytes;
  v128.store_lane<f32>(y, s, 0);
  v128.store_lane<f32>(y + apart, s, 1);
  v128.store_lane<f32>(y1, s, 2);
  v128.store_lane<f32>(y1 + apart, s, 3);
  if (!three) return;
  const s2 = V.sums(a02, a12, a02, a12);
  const y2 = y1 + yBytes;
  v128.store_lane<f32>(y2, s2, 0);
  v128.store_lane<f32>(y2 + apart, s2, 1);
}
