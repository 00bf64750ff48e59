/**
 * Rows of GGUF's block formats in the packed form for DRAM: four rows are interleaved word by word, so that
 * a vector has four weights of each row and every row has its own lane. The number of bytes stays the same.
 * The blocks of four rows:
 *
 *     row r      | f16? | word 0 | word 1 | ... | f16? |           words of 32 bits; at most one f16
 *     packed     | f16 of row 0 .. 3? | a word of row 0 .. 3 | a word of row 0 .. 3 | ... |
 *
 * and these one after the other; a codec's `place` gives the order of the words. In Q5_0 and Q5_1 one
 * word has the fifth bits of 32 weights; bit c of
 * byte 4 r + k of its vector is that of weight 4 c + k of row r.
 *
 * Sums need no additions across lanes, heads need no gathering, and all four rows are one stream of memory.
 * Results are the same to the bit as with rows in their stored form (group-dot.ts): integers of groups are
 * exact, and f32 is added group by group in the same order.
 */
import {
  PAIRED_POSITIONS,
  QUANTISED_GROUP,
  QUANTISED_GROUP_BYTES,
  QUANTISED_POSITIONS,
} from './exports/shared-constants';
import { G, GroupCodec } from './group';
import { quantise, quantisedOffset, quantisePairs, SUMS } from './group-activations';
import { Heads, I } from './group-dot';
import { HEADS_BYTES } from './group-matmul';
import { CHUNK_BYTES, dots8, Eights } from './group-tiles';

/** Parts of packed blocks. */
abstract class Packed {
  /** Whether blocks have an f16 in addition to words of 32 bits: then it is their factor. */
  @inline static half<T extends GroupCodec>(): bool {
    return (changetype<T>(0).bytes & 3) != 0;
  }
  /** Offset of the words in a row's block. */
  @inline static words<T extends GroupCodec>(): usize {
    return Packed.half<T>() && changetype<T>(0).factorAt == 0 ? 2 : 0;
  }
  @inline static count<T extends GroupCodec>(): i32 {
    return <i32>(changetype<T>(0).bytes >> 2);
  }
  /** Offset of the vector of word `word`. */
  @inline static vector<T extends GroupCodec>(word: i32): usize {
    return (Packed.half<T>() ? 8 : 0) + ((<usize>changetype<T>(0).place(word)) << 4);
  }

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
    if (n < PAIRED_POSITIONS) {
      for (let p: usize = 0; p < <usize>n; p++) {
        if (!quantised) quantise<T>(room, x + ((p * xStride) << 2), groups);
        const xp = quantised ? x + p * inputBytes : room;
        dotsOfPacked<T>(y + p * yBytes, xp, w, count, groups, scratch);
      }
    } else {
      let pairs = x;
      let unpacked = room;
      if (!quantised) {
        pairs = room;
        quantisePairs<T>(pairs, inputBytes, x, groups, n, xStride << 2);
        unpacked += <usize>((n + 1) >> 1) * inputBytes;
      }
      for (let r = 0; r < count; r += 8) {
        const wr = w + <usize>(r >> 2) * foursBytes;
        unpackFours<T>(unpacked, false, wr, groups);
        if (r + 4 < count) unpackFours<T>(unpacked, true, wr + foursBytes, groups);
        const yr = y + ((<usize>r) << 2);
        dots8<T>(yr, yBytes, n, count - r, pairs, inputBytes, unpacked, groups);
      }
    }
    x += (<usize>n * xStride) << 2;
    y += <usize>n * yBytes;
  }
}

/** Fifth bits of four rows, given as one word per lane, in the order of packed blocks. */
function packedFifths(words: v128): v128 {
  const bits = i32x4.splat(0x08040201);
  let packed = i32x4.splat(0);
  for (let c = 0; c < 8; c++) {
    const four = i32x4.shr_u(words, 4 * c);
    const each = i8x16.shuffle(four, four, 0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
    const set = i8x16.eq(v128.and(each, bits), bits);
    packed = v128.or(packed, v128.and(set, i8x16.splat(<i8>((<i32>1) << c))));
  }
  return packed;
}

/** The word of a row's fifth bits, whose bytes in a packed block are `bytes`. */
function fifthsOfRow(bytes: u32): u32 {
  let word: u32 = 0;
  for (let k = 0; k < 4; k++) {
    let bits = (bytes >>> (8 * k)) & 255;
    bits = (bits | (bits << 12)) & 0x000f000f;
    bits = (bits | (bits << 6)) & 0x03030303;
    bits = (bits | (bits << 3)) & 0x11111111;
    word |= bits << k;
  }
  return word;
}

/** Packs rows of `cols` weights in place; `scratch` has room for four of them. */
export function packGroups<T extends GroupCodec>(
  w: usize,
  rows: i32,
  cols: i32,
  scratch: usize,
): void {
  const t = changetype<T>(0);
  const blocks = cols / (QUANTISED_GROUP * t.groups);
  const rowBytes = <usize>blocks * t.bytes;
  for (let r = 0; r < rows; r += 4) {
    memory.copy(scratch, w, 4 * rowBytes);
    let from = scratch;
    for (let b = 0; b < blocks; b++) {
      for (let i: usize = 0; i < 4; i++) {
        const row = from + i * rowBytes;
        if (Packed.half<T>()) store<u16>(w + 2 * i, load<u16>(row + t.factorAt));
      }
      for (let word = 0; word < Packed.count<T>(); word++) {
        const at = from + Packed.words<T>() + ((<usize>word) << 2);
        let v = v128.load_splat<u32>(at);
        v = v128.load_lane<u32>(at + rowBytes, v, 1);
        v = v128.load_lane<u32>(at + 2 * rowBytes, v, 2);
        v = v128.load_lane<u32>(at + 3 * rowBytes, v, 3);
        if (word == t.fifthsWord) v = packedFifths(v);
        v128.store(w + Packed.vector<T>(word), v);
      }
      from += t.bytes;
      w += 4 * t.bytes;
    }
  }
}

/** dst = row `row` of four packed rows of `cols` weights at `src`, in the file's form. */
export function unpackGroupRow<T extends GroupCodec>(
  dst: usize,
  src: usize,
  row: i32,
  cols: i32,
): void {
  const t = changetype<T>(0);
  const halfAt = (<usize>row) << 1;
  const wordAt = (<usize>row) << 2;
  for (let left = cols; left > 0; left -= QUANTISED_GROUP * t.groups) {
    if (Packed.half<T>()) store<u16>(dst + t.factorAt, load<u16>(src + halfAt));
    for (let word = 0; word < Packed.count<T>(); word++) {
      let bits = load<u32>(src + Packed.vector<T>(word) + wordAt);
      if (word == t.fifthsWord) bits = fifthsOfRow(bits);
      store<u32>(dst + Packed.words<T>() + ((<usize>word) << 2), bits);
    }
    src += 4 * t.bytes;
    dst += t.bytes;
  }
}
