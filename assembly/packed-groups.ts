/**
 * Rows of GGUF's block formats in the packed form for DRAM: four rows are interleaved word by word, so that
 * a vector has four weights of each row and every row has its own lane. The number of bytes stays the same.
 * The blocks of four rows:
 *
 *     row r      | f16? | word 0 | word 1 | ... | f16? |           words of 32 bits; at most one f16
 *     packed     | f16 of row 0 .. 3? | a word of row 0 .. 3 | a word of row 0 .. 3 | ... |
 *
 * and these one after the other; a codec's `place` gives the order of the words. In MXFP4 a byte takes the
 * place of the f16. In Q5_0 and Q5_1 one word has the fifth bits of 32 weights; bit c of byte 4 r + k of its
 * vector is that of weight 4 c + k of row r.
 *
 * Sums need no additions across lanes, heads need no gathering, and all four rows are one stream of memory.
 * Results are the same to the bit as with rows in their stored form (group-dot.ts): integers of groups are
 * exact, and f32 is added group by group in the same order.
 */
import {
  QUANTISED_GROUP,
  QUANTISED_GROUP_BYTES,
  QUANTISED_POSITIONS,
} from './exports/shared-constants';
import { G, GroupCodec } from './group';
import { quantise, quantisedOffset, quantisePairs, SUMS } from './group-activations';
import { Heads, I } from './group-dot';
import { HEADS_BYTES } from './group-matmul';
import { CHUNK_BYTES, dots8, Eights } from './group-tiles';

/** Products with groups of packed blocks. */
abstract class Packed {
  /** Sums of pairs of chunk c, whose activations are at x. */
  @inline static pairs<T extends GroupCodec>(
    p: usize,
    h: usize,
    g: i32,
    c: i32,
    x: usize,
    fifths: v128,
    low: v128,
    high: v128,
  ): v128 {
    const four = v128.load_splat<u32>(x + ((<usize>c) << 2));
    return I.pairs(four, changetype<T>(0).chunk(p, h, g, c, fifths, low, high));
  }

  /** The integers of group 4 h + g of four rows; their scales, if any, are at `scales`. */
  @inline static integers<T extends GroupCodec>(
    p: usize,
    h: usize,
    g: i32,
    x: usize,
    scales: usize,
    low: v128,
    high: v128,
    room: usize,
  ): v128 {
    const t = changetype<T>(0);
    const f = t.fifths(p);
    const sums = x + SUMS;
    // Chunks that share bytes are processed together, unless halves have their own scales.
    const c2 = t.scaled ? 2 : 4;
    const c4 = t.scaled ? 4 : 2;
    let s = Packed.pairs<T>(p, h, g, 0, x, f, low, high);
    s = i16x8.add(s, Packed.pairs<T>(p, h, g, 1, x, f, low, high));
    s = i16x8.add(s, Packed.pairs<T>(p, h, g, c2, x, f, low, high));
    s = i16x8.add(s, Packed.pairs<T>(p, h, g, c2 + 1, x, f, low, high));
    v128.store(room, s);
    let u = Packed.pairs<T>(p, h, g, c4, x, f, low, high);
    u = i16x8.add(u, Packed.pairs<T>(p, h, g, c4 + 1, x, f, low, high));
    u = i16x8.add(u, Packed.pairs<T>(p, h, g, 6, x, f, low, high));
    u = i16x8.add(u, Packed.pairs<T>(p, h, g, 7, x, f, low, high));
    s = v128.load(room);
    if (t.pairs == 8) return Eights.whole<T>(i16x8.add(s, u), sums);
    return i32x4.add(Eights.half<T>(s, 0, scales, sums), Eights.half<T>(u, 1, scales, sums));
  }

  /** Adds group 4 h + g to four rows' sums at `acc`. */
  @inline static add<T extends GroupCodec>(
    acc: usize,
    p: usize,
    h: usize,
    g: i32,
    head: usize,
    x: usize,
    low: v128,
    high: v128,
    room: usize,
  ): void {
    const scales = head + 16 + G.leastBytes<T>();
    const d = Packed.integers<T>(p, h, g, x, scales, low, high, room);
    // The store forces this group to be finished before the next one, so that V8 keeps few vectors live.
    v128.store(acc, Heads.added<T>(v128.load(acc), d, head, x));
  }
}

/** Simultaneous streams of memory reads: a single stream stalls at every page. */
const STREAMS: i32 = 4;
/** Groups of four rows that are unpacked before those of the next stream. */
const UNPACKED_TOGETHER: i32 = 8;

/**
 * Dot products of `streams` times four rows with one position; the streams are `apart` bytes from one to the
 * next. The sums are stored at `head`, followed by room for the heads of a block.
 */
function dotsPacked<T extends GroupCodec>(
  p0: usize,
  streams: i32,
  apart: usize,
  x: usize,
  groups: i32,
  head: usize,
): void {
  const t = changetype<T>(0);
  const low = t.low;
  const high = t.packedHigh;
  const stride = G.headBytes<T>();
  const accs = head;
  const end = accs + ((<usize>streams) << 4);
  const room = accs + ((<usize>STREAMS) << 4);
  head = room + 16;
  for (let acc = accs; acc < end; acc += 16) v128.store(acc, f32x4.splat(0));
  for (let left = groups; left > 0; left -= t.groups) {
    let p = p0;
    for (let acc = accs; acc < end; acc += 16) {
      t.packedHeads(head, stride, p);
      if (t.groups == 1) {
        Packed.add<T>(acc, p, 0, 0, head, x, low, high, room);
      } else {
        let at = head;
        let xh = x;
        for (let h: usize = 0; h < 2; h++) {
          Packed.add<T>(acc, p, h, 0, at, xh, low, high, room);
          at += stride;
          Packed.add<T>(acc, p, h, 1, at, xh + QUANTISED_GROUP_BYTES, low, high, room);
          at += stride;
          Packed.add<T>(acc, p, h, 2, at, xh + 2 * QUANTISED_GROUP_BYTES, low, high, room);
          at += stride;
          Packed.add<T>(acc, p, h, 3, at, xh + 3 * QUANTISED_GROUP_BYTES, low, high, room);
          at += stride;
          xh += 4 * QUANTISED_GROUP_BYTES;
        }
      }
      p += apart;
    }
    x += <usize>t.groups * QUANTISED_GROUP_BYTES;
    p0 += t.bytes << 2;
  }
}

/** One position: y[r] = dot(w_r, x) for `count` packed rows at w. */
function dotsOfPacked<T extends GroupCodec>(
  y: usize,
  x: usize,
  w: usize,
  count: i32,
  groups: i32,
  head: usize,
): void {
  const t = changetype<T>(0);
  const foursBytes = (<usize>(groups / t.groups) * t.bytes) << 2;
  const fours = count >> 2;
  const each = fours / STREAMS;
  const apart = <usize>each * foursBytes;
  for (let i = 0; i < each; i++) {
    dotsPacked<T>(w + <usize>i * foursBytes, STREAMS, apart, x, groups, head);
    for (let k = 0; k < STREAMS; k++) {
      v128.store(y + ((<usize>(i + k * each)) << 4), v128.load(head + ((<usize>k) << 4)));
    }
  }
  const done = each * STREAMS;
  if (done == fours) return;
  dotsPacked<T>(w + <usize>done * foursBytes, fours - done, foursBytes, x, groups, head);
  memory.copy(y + ((<usize>done) << 4), head, (<usize>(fours - done)) << 4);
}

/** Four packed rows as the first or the second four of eight rows at `eights`. */
function unpackFours<T extends GroupCodec>(
  eights: usize,
  second: bool,
  p: usize,
  groups: i32,
): void {
  const t = changetype<T>(0);
  const low = t.low;
  const high = t.packedHigh;
  const stride = Eights.bytes<T>();
  let to = eights + Eights.weights(second);
  let head = eights + Eights.head<T>(second);
  for (let left = groups; left > 0; left -= t.groups) {
    t.packedHeads(head, stride, p);
    head += <usize>t.groups * stride;
    const f = t.fifths(p);
    if (t.groups == 1) {
      v128.store(to, t.chunk(p, 0, 0, 0, f, low, high));
      v128.store(to + CHUNK_BYTES, t.chunk(p, 0, 0, 1, f, low, high));
      v128.store(to + 2 * CHUNK_BYTES, t.chunk(p, 0, 0, 2, f, low, high));
      v128.store(to + 3 * CHUNK_BYTES, t.chunk(p, 0, 0, 3, f, low, high));
      v128.store(to + 4 * CHUNK_BYTES, t.chunk(p, 0, 0, 4, f, low, high));
      v128.store(to + 5 * CHUNK_BYTES, t.chunk(p, 0, 0, 5, f, low, high));
      v128.store(to + 6 * CHUNK_BYTES, t.chunk(p, 0, 0, 6, f, low, high));
      v128.store(to + 7 * CHUNK_BYTES, t.chunk(p, 0, 0, 7, f, low, high));
      to += stride;
    } else {
      for (let h: usize = 0; h < 2; h++) {
        for (let c = 0; c < 8; c++) {
          const at = to + <usize>c * CHUNK_BYTES;
          v128.store(at, t.chunk(p, h, 0, c, f, low, high));
          v128.store(at + stride, t.chunk(p, h, 1, c, f, low, high));
          v128.store(at + 2 * stride, t.chunk(p, h, 2, c, f, low, high));
          v128.store(at + 3 * stride, t.chunk(p, h, 3, c, f, low, high));
        }
        to += 4 * stride;
      }
    }
    p += 4 * t.bytes;
  }
}

/**
 * Unpacks rows of `streams` times four, `apart` bytes from one to the next, to eight rows for each two of
 * them. A few groups of each stream in turn: as in `dotsPacked`, a single stream of memory would stall.
 */
function unpackStreams<T extends GroupCodec>(
  eights: usize,
  p: usize,
  streams: i32,
  apart: usize,
  groups: i32,
): void {
  const t = changetype<T>(0);
  const eightsBytes = <usize>groups * Eights.bytes<T>();
  for (let g = 0; g < groups; g += UNPACKED_TOGETHER) {
    const some = min(UNPACKED_TOGETHER, groups - g);
    let from = p;
    let to = eights;
    for (let k = 0; k < streams; k++) {
      unpackFours<T>(to, (k & 1) == 1, from, some);
      from += apart;
      if ((k & 1) == 1) to += eightsBytes;
    }
    p += (<usize>(some / t.groups) * t.bytes) << 2;
    eights += <usize>some * Eights.bytes<T>();
  }
}

/**
 * Several positions, quantised in pairs: y_p[r] = dot(w_r, x_p) for `count` packed rows at w, of which
 * `streams` times four, an even number, are unpacked together.
 */
function dotsOfPairs<T extends GroupCodec>(
  y: usize,
  yBytes: usize,
  positions: i32,
  x: usize,
  inputBytes: usize,
  w: usize,
  count: i32,
  groups: i32,
  streams: i32,
  unpacked: usize,
): void {
  const t = changetype<T>(0);
  const foursBytes = (<usize>(groups / t.groups) * t.bytes) << 2;
  const eightsBytes = <usize>groups * Eights.bytes<T>();
  const fours = count >> 2;
  const each = fours / streams;
  for (let i = 0; i <= each; i++) {
    // Fours that are left when the streams have ended lie together.
    const whole = i < each;
    const n = whole ? streams : fours - each * streams;
    const first = <usize>(whole ? i : each * streams);
    const apart: usize = whole ? <usize>each : 1;
    unpackStreams<T>(unpacked, w + first * foursBytes, n, apart * foursBytes, groups);
    let eights = unpacked;
    let to = y + (first << 4);
    for (let k = 0; k < n; k += 2) {
      const rows = (n - k) << 2;
      dots8<T>(to, yBytes, apart << 4, positions, rows, x, inputBytes, eights, groups);
      eights += eightsBytes;
      to += apart << 5;
    }
  }
}

/**
 * y_p[r] = dot(w_r, x_p) for r in [0, count), a multiple of four, and p in [0, positions), of packed
 * rows at w. `scratch` and `quantised` are those of `groupDots`.
 */
export function packedDots<T extends GroupCodec>(
  y: usize,
  x: usize,
  w: usize,
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
  const foursBytes = (<usize>(groups / t.groups) * t.bytes) << 2;
  const yBytes = yStride << 2;
  const step = quantised ? positions : QUANTISED_POSITIONS;
  for (let first = 0; first < positions; first += step) {
    const n = min(step, positions - first);
    const room = scratch + HEADS_BYTES;
    const inputBytes = quantisedOffset(quantised ? xStride : <usize>cols, n);
    if (n == 1) {
      if (!quantised) quantise<T>(room, x, groups);
      dotsOfPacked<T>(y, quantised ? x : room, w, count, groups, scratch);
    } else {
      let input = x;
      let unpacked = room;
      if (!quantised) {
        input = room;
        quantisePairs<T>(input, inputBytes, x, groups, n, xStride << 2);
        unpacked += <usize>((n + 1) >> 1) * inputBytes;
      }
      // Scratch has no room for four streams beside the input.
      const streams = quantised ? STREAMS : 2;
      dotsOfPairs<T>(y, yBytes, n, input, inputBytes, w, count, groups, streams, unpacked);
    }
    x += (<usize>n * xStride) << 2;
    y += <usize>n * yBytes;
  }
}
