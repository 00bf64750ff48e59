/**
 * Dot products of rows in GGUF's block formats with the activations of any number of positions. Few
 * positions are multiplied with weights as they lie (group-dot.ts), for more of them weights are
 * unpacked once, eight rows at a time, as two fours. Of a group of four rows:
 *
 *     | weights 0-3 of row 0, of row 1, of row 2, of row 3, u8 | weights 4-7 of each | ... | head |
 *
 * So a vector of four activations, repeated, makes sums in which each row has a lane of its own.
 */
import { ACTIVATION_SCALE_BYTES, QUANTISED_POSITIONS } from './exports/shared-constants';
import { G, GroupCodec } from './group';
import { Activations, dot4, GROUP, Heads, I, quantise, SUM_BYTES } from './group-dot';
import { Quarters } from './rows';
import { V } from './vector';

/** Bytes of the weights of a group of four rows. */
export const WEIGHT_BYTES: usize = 128;
/** Fewer positions are multiplied with weights as they lie. */
export const UNPACK_FROM: i32 = 3;
/** Room for the heads of a block. */
export const HEADS_BYTES: usize = 1024;

/** Groups of four rows, unpacked. */
export abstract class Fours {
  /** Bytes of a group of four rows. */
  @inline static bytes<T extends GroupCodec>(): usize {
    return WEIGHT_BYTES + G.headBytes<T>();
  }

  /** 16 weights of four rows, four of each in turn. */
  @inline static transpose(to: usize, r0: v128, r1: v128, r2: v128, r3: v128): void {
    const a = i32x4.shuffle(r0, r1, 0, 4, 1, 5);
    const b = i32x4.shuffle(r2, r3, 0, 4, 1, 5);
    const c = i32x4.shuffle(r0, r1, 2, 6, 3, 7);
    const d = i32x4.shuffle(r2, r3, 2, 6, 3, 7);
    v128.store(to, i32x4.shuffle(a, b, 0, 1, 4, 5));
    v128.store(to, i32x4.shuffle(a, b, 2, 3, 6, 7), 16);
    v128.store(to, i32x4.shuffle(c, d, 0, 1, 4, 5), 32);
    v128.store(to, i32x4.shuffle(c, d, 2, 3, 6, 7), 48);
  }

  /** The weights of group 4 h + g of a block of four rows. */
  @inline static unpack<T extends GroupCodec>(
    to: usize,
    w0: usize,
    w1: usize,
    w2: usize,
    w3: usize,
    h: usize,
    g: i32,
    low: v128,
    high: v128,
  ): void {
    const t = changetype<T>(0);
    Fours.transpose(
      to,
      t.half(w0, h, g, 0, low, high),
      t.half(w1, h, g, 0, low, high),
      t.half(w2, h, g, 0, low, high),
      t.half(w3, h, g, 0, low, high),
    );
    Fours.transpose(
      to + 64,
      t.half(w0, h, g, 1, low, high),
      t.half(w1, h, g, 1, low, high),
      t.half(w2, h, g, 1, low, high),
      t.half(w3, h, g, 1, low, high),
    );
  }

  /** The integers of half j of a group, of four rows, from its sums of pairs; scales, if any, at `scales`. */
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

  /** y[0..n) = the first n lanes, any n. */
  @inline static put(y: usize, v: v128, n: i32): void {
    if (n > 0) V.storeLanes(y, v, min(n, 4));
  }
}

/** `groups` groups of four rows. */
function unpack<T extends GroupCodec>(
  to: usize,
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  groups: i32,
): void {
  const t = changetype<T>(0);
  const low = t.low;
  const high = t.high;
  const stride = Fours.bytes<T>();
  for (let left = groups; left > 0; left -= t.groups) {
    t.heads(to + WEIGHT_BYTES, stride, w0, w1, w2, w3);
    if (t.groups == 1) {
      Fours.unpack<T>(to, w0, w1, w2, w3, 0, 0, low, high);
      to += stride;
    } else {
      for (let h: usize = 0; h < 2; h++) {
        Fours.unpack<T>(to, w0, w1, w2, w3, h, 0, low, high);
        Fours.unpack<T>(to + stride, w0, w1, w2, w3, h, 1, low, high);
        Fours.unpack<T>(to + 2 * stride, w0, w1, w2, w3, h, 2, low, high);
        Fours.unpack<T>(to + 3 * stride, w0, w1, w2, w3, h, 3, low, high);
        to += 4 * stride;
      }
    }
    w0 += t.bytes;
    w1 += t.bytes;
    w2 += t.bytes;
    w3 += t.bytes;
  }
}

/** Two positions and n of eight rows, unpacked one four after the other. */
function dots8x2<T extends GroupCodec>(
  y0: usize,
  y1: usize,
  n: i32,
  x0: usize,
  x1: usize,
  u0: usize,
  groups: i32,
): void {
  let a00 = f32x4.splat(0);
  let a01 = f32x4.splat(0);
  let a10 = f32x4.splat(0);
  let a11 = f32x4.splat(0);
  const carry = changetype<T>(0).pairs == 8;
  const stride = Fours.bytes<T>();
  const scalesAt = WEIGHT_BYTES + 16 + G.leastBytes<T>();
  let u1 = u0 + <usize>groups * stride;
  let scale0 = Activations.scales(x0, groups);
  let scale1 = Activations.scales(x1, groups);
  let sums0 = Activations.sums(x0, groups);
  let sums1 = Activations.sums(x1, groups);
  for (let left = groups; left > 0; left--) {
    let s00 = i32x4.splat(0);
    let d00 = i32x4.splat(0);
    let s01 = i32x4.splat(0);
    let d01 = i32x4.splat(0);
    let s10 = i32x4.splat(0);
    let d10 = i32x4.splat(0);
    let s11 = i32x4.splat(0);
    let d11 = i32x4.splat(0);
    for (let j: usize = 0; j < 2; j++) {
      // Two turns of two fours of weights: as many vectors as there are registers for.
      if (!carry) {
        s00 = i32x4.splat(0);
        s01 = i32x4.splat(0);
        s10 = i32x4.splat(0);
        s11 = i32x4.splat(0);
      }
      for (let k = j << 1; k < (j << 1) + 2; k++) {
        const uk = k << 5;
        const xk = k << 3;
        let w0 = v128.load(u0 + uk);
        let w1 = v128.load(u1 + uk);
        let v0 = v128.load_splat<u32>(x0 + xk);
        let v1 = v128.load_splat<u32>(x1 + xk);
        s00 = i16x8.add(s00, I.pairs(v0, w0));
        s01 = i16x8.add(s01, I.pairs(v1, w0));
        s10 = i16x8.add(s10, I.pairs(v0, w1));
        s11 = i16x8.add(s11, I.pairs(v1, w1));
        w0 = v128.load(u0 + uk, 16);
        w1 = v128.load(u1 + uk, 16);
        v0 = v128.load_splat<u32>(x0 + xk, 4);
        v1 = v128.load_splat<u32>(x1 + xk, 4);
        s00 = i16x8.add(s00, I.pairs(v0, w0));
        s01 = i16x8.add(s01, I.pairs(v1, w0));
        s10 = i16x8.add(s10, I.pairs(v0, w1));
        s11 = i16x8.add(s11, I.pairs(v1, w1));
      }
      if (!carry) {
        d00 = i32x4.add(d00, Fours.half<T>(s00, j, u0 + scalesAt, sums0));
        d01 = i32x4.add(d01, Fours.half<T>(s01, j, u0 + scalesAt, sums1));
        d10 = i32x4.add(d10, Fours.half<T>(s10, j, u1 + scalesAt, sums0));
        d11 = i32x4.add(d11, Fours.half<T>(s11, j, u1 + scalesAt, sums1));
      }
    }
    if (carry) {
      d00 = Fours.whole<T>(s00, sums0);
      d01 = Fours.whole<T>(s01, sums1);
      d10 = Fours.whole<T>(s10, sums0);
      d11 = Fours.whole<T>(s11, sums1);
    }
    a00 = Heads.added<T>(a00, d00, u0 + WEIGHT_BYTES, scale0, sums0);
    a01 = Heads.added<T>(a01, d01, u0 + WEIGHT_BYTES, scale1, sums1);
    a10 = Heads.added<T>(a10, d10, u1 + WEIGHT_BYTES, scale0, sums0);
    a11 = Heads.added<T>(a11, d11, u1 + WEIGHT_BYTES, scale1, sums1);
    u0 += stride;
    u1 += stride;
    x0 += GROUP;
    x1 += GROUP;
    scale0 += ACTIVATION_SCALE_BYTES;
    scale1 += ACTIVATION_SCALE_BYTES;
    sums0 += SUM_BYTES;
    sums1 += SUM_BYTES;
  }
  Fours.put(y0, a00, n);
  Fours.put(y0 + 16, a10, n - 4);
  if (y0 == y1) return;
  Fours.put(y1, a01, n);
  Fours.put(y1 + 16, a11, n - 4);
}

/** `positions` positions, `xBytes` and `yBytes` apart, and n of eight rows, unpacked likewise. */
export function dots8<T extends GroupCodec>(
  y: usize,
  yBytes: usize,
  positions: i32,
  n: i32,
  x: usize,
  xBytes: usize,
  unpacked: usize,
  groups: i32,
): void {
  for (let p = 0; p < positions; p += 2) {
    const q = min(p + 1, positions - 1);
    dots8x2<T>(
      y + <usize>p * yBytes,
      y + <usize>q * yBytes,
      n,
      x + <usize>p * xBytes,
      x + <usize>q * xBytes,
      unpacked,
      groups,
    );
  }
}

/** One position, rows as they lie: y[r] = dot(w_r, x). */
function dotsOfOne<T extends GroupCodec>(
  y: usize,
  x: usize,
  w: usize,
  ptrs: usize,
  rowBytes: usize,
  count: i32,
  groups: i32,
  heads: usize,
): void {
  const quarter = Quarters.rows(count);
  for (let i = 0; i < quarter; i++) {
    const r1 = min(i + quarter, count - 1);
    const r2 = min(i + 2 * quarter, count - 1);
    const r3 = min(i + 3 * quarter, count - 1);
    const dots = dot4<T>(
      Quarters.row(w, ptrs, rowBytes, i),
      Quarters.row(w, ptrs, rowBytes, r1),
      Quarters.row(w, ptrs, rowBytes, r2),
      Quarters.row(w, ptrs, rowBytes, r3),
      x,
      groups,
      heads,
    );
    const at0 = (<usize>i) << 2;
    Quarters.store(y, dots, at0, (<usize>r1) << 2, (<usize>r2) << 2, (<usize>r3) << 2);
  }
}

/**
 * y_p[r] = dot(w_r, x_p) for r in [0, count), p in [0, positions). Rows lie `w` bytes beyond the
 * addresses in `ptrs`; without `ptrs`, one after the other from `w` on. They are whole blocks.
 * `scratch` is for quantised activations and unpacked weights, and must be given.
 */
export function groupDots<T extends GroupCodec>(
  y: usize,
  x: usize,
  w: usize,
  ptrs: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
): void {
  if (scratch == 0) unreachable();
  const t = changetype<T>(0);
  const groups = cols / GROUP;
  const rowBytes = <usize>(groups / t.groups) * t.bytes;
  const xBytes = Activations.bytes(groups);
  const yBytes = yStride << 2;
  for (let first = 0; first < positions; first += QUANTISED_POSITIONS) {
    const n = min(QUANTISED_POSITIONS, positions - first);
    const xs = scratch + HEADS_BYTES;
    for (let p: usize = 0; p < <usize>n; p++) {
      quantise<T>(xs + p * xBytes, x + ((p * xStride) << 2), groups);
    }
    if (n < UNPACK_FROM) {
      for (let p: usize = 0; p < <usize>n; p++) {
        const xp = xs + p * xBytes;
        dotsOfOne<T>(y + p * yBytes, xp, w, ptrs, rowBytes, count, groups, scratch);
      }
    } else {
      const unpacked = xs + <usize>n * xBytes;
      const fours = <usize>groups * Fours.bytes<T>();
      const last = count - 1;
      for (let r = 0; r < count; r += 8) {
        for (let k = 0; k < 8; k += 4) {
          unpack<T>(
            unpacked + (k == 0 ? 0 : fours),
            Quarters.row(w, ptrs, rowBytes, min(r + k, last)),
            Quarters.row(w, ptrs, rowBytes, min(r + k + 1, last)),
            Quarters.row(w, ptrs, rowBytes, min(r + k + 2, last)),
            Quarters.row(w, ptrs, rowBytes, min(r + k + 3, last)),
            groups,
          );
        }
        const yr = y + ((<usize>r) << 2);
        dots8<T>(yr, yBytes, n, count - r, xs, xBytes, unpacked, groups);
      }
    }
    x += (<usize>n * xStride) << 2;
    y += <usize>n * yBytes;
  }
}
