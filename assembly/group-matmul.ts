/**
 * Dot products of rows in GGUF's block formats with the activations of any number of positions. One
 * position is multiplied with weights in their stored form (group-dot.ts); for more positions, weights
 * are unpacked once, eight rows at a time (group-tiles.ts): two consecutive rows of each quarter, since
 * unpacking waits for memory, and quarters are four streams that go on from row to row.
 */
import { QUANTISED_GROUP, QUANTISED_POSITIONS } from './exports/shared-constants';
import { GroupCodec } from './group';
import { quantise, quantisedOffset, quantisePairs } from './group-activations';
import { dot4 } from './group-dot';
import { CHUNK_BYTES, dots8, Eights } from './group-tiles';
import { Quarters } from './rows';

/** Bytes for the heads of a block. */
export const HEADS_BYTES: usize = 1024;

/** Unpacks eight rows, four at a time. */
abstract class Fours {
  /** 16 weights of four rows, four of each in turn. */
  @inline static transpose(to: usize, r0: v128, r1: v128, r2: v128, r3: v128): void {
    const a = i32x4.shuffle(r0, r1, 0, 4, 1, 5);
    const b = i32x4.shuffle(r2, r3, 0, 4, 1, 5);
    const c = i32x4.shuffle(r0, r1, 2, 6, 3, 7);
    const d = i32x4.shuffle(r2, r3, 2, 6, 3, 7);
    v128.store(to, i32x4.shuffle(a, b, 0, 1, 4, 5));
    v128.store(to + CHUNK_BYTES, i32x4.shuffle(a, b, 2, 3, 6, 7));
    v128.store(to + 2 * CHUNK_BYTES, i32x4.shuffle(c, d, 0, 1, 4, 5));
    v128.store(to + 3 * CHUNK_BYTES, i32x4.shuffle(c, d, 2, 3, 6, 7));
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
      to + 4 * CHUNK_BYTES,
      t.half(w0, h, g, 1, low, high),
      t.half(w1, h, g, 1, low, high),
      t.half(w2, h, g, 1, low, high),
      t.half(w3, h, g, 1, low, high),
    );
  }
}

/** `groups` groups of the first or the second four of eight rows at `eights`. */
function unpack<T extends GroupCodec>(
  eights: usize,
  second: bool,
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  groups: i32,
): void {
  const t = changetype<T>(0);
  const low = t.low;
  const high = t.high;
  const stride = Eights.bytes<T>();
  let to = eights + Eights.weights(second);
  let head = eights + Eights.head<T>(second);
  for (let left = groups; left > 0; left -= t.groups) {
    t.heads(head, stride, w0, w1, w2, w3);
    head += <usize>t.groups * stride;
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

/** Row i of each quarter as the first or the second four of eight rows at `eights`. */
function unpackQuarters<T extends GroupCodec>(
  eights: usize,
  second: bool,
  w: usize,
  ptrs: usize,
  rowBytes: usize,
  i: i32,
  count: i32,
  groups: i32,
): void {
  const quarter = Quarters.rows(count);
  unpack<T>(
    eights,
    second,
    Quarters.row(w, ptrs, rowBytes, i),
    Quarters.row(w, ptrs, rowBytes, min(i + quarter, count - 1)),
    Quarters.row(w, ptrs, rowBytes, min(i + 2 * quarter, count - 1)),
    Quarters.row(w, ptrs, rowBytes, min(i + 3 * quarter, count - 1)),
    groups,
  );
}

/** Where results of four rows belong. */
abstract class Results {
  /** Stores row i of each quarter. */
  @inline static put(y: usize, v: v128, i: i32, count: i32): void {
    const quarter = Quarters.rows(count);
    const r1 = min(i + quarter, count - 1);
    const r2 = min(i + 2 * quarter, count - 1);
    const r3 = min(i + 3 * quarter, count - 1);
    Quarters.store(y, v, (<usize>i) << 2, (<usize>r1) << 2, (<usize>r2) << 2, (<usize>r3) << 2);
  }
}

/** One position, rows in their stored form: y[r] = dot(w_r, x). */
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
 * addresses in `ptrs`; without `ptrs`, one after the other from `w` on. Rows are whole blocks.
 * `scratch` is for quantised activations and unpacked weights, and must be given. If `quantised`, x is the
 * result of `quantiseInput` for as many positions, with rows of `xStride` elements.
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
  quantised: bool,
): void {
  if (scratch == 0) unreachable();
  const t = changetype<T>(0);
  const groups = cols / QUANTISED_GROUP;
  const rowBytes = <usize>(groups / t.groups) * t.bytes;
  const yBytes = yStride << 2;
  const step = quantised ? positions : QUANTISED_POSITIONS;
  for (let first = 0; first < positions; first += step) {
    const n = min(step, positions - first);
    const room = scratch + HEADS_BYTES;
    const inputBytes = quantisedOffset(quantised ? xStride : <usize>cols, n);
    if (n == 1) {
      if (!quantised) quantise<T>(room, x, groups);
      dotsOfOne<T>(y, quantised ? x : room, w, ptrs, rowBytes, count, groups, scratch);
    } else {
      let input = x;
      let unpacked = room;
      if (!quantised) {
        input = room;
        quantisePairs<T>(input, inputBytes, x, groups, n, xStride << 2);
        unpacked += <usize>((n + 1) >> 1) * inputBytes;
      }
      const quarter = Quarters.rows(count);
      for (let i = 0; i < quarter; i += 2) {
        const j = min(i + 1, quarter - 1);
        unpackQuarters<T>(unpacked, false, w, ptrs, rowBytes, i, count, groups);
        unpackQuarters<T>(unpacked, true, w, ptrs, rowBytes, j, count, groups);
        let yp = y;
        let xp = input;
        for (let p = 0; p < n; p += 2) {
          const two = min(2, n - p);
          dots8<T>(scratch, 32, 16, two, 8, xp, inputBytes, unpacked, groups);
          for (let k: usize = 0; k < <usize>two; k++) {
            Results.put(yp, v128.load(scratch + (k << 5)), i, count);
            Results.put(yp, v128.load(scratch + (k << 5), 16), j, count);
            yp += yBytes;
          }
          xp += inputBytes;
        }
      }
    }
    x += (<usize>n * xStride) << 2;
    y += <usize>n * yBytes;
  }
}
