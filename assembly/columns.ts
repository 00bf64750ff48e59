/**
 * Adds scaled down columns to the FFN's output, for each kind of format: the contribution of bundles,
 * however they were selected. Every element is summed in the order of the neurons.
 */
import { BLOCK, BlockCodec, UnpackedBlock } from './block';
import { BF16_BITS, NIBBLE } from './constants';
import { unpack } from './dot';
import { Codec } from './dtype';
import { UNPACKED_BLOCK_BYTES } from './exports/shared-constants';
import { accumulateFew } from './few-columns';
import { V } from './vector';

/**
 * y[0..columns) = (fresh ? 0 : y) + a0 d0 + a1 d1 + ..., the first n of four, added in this order. All
 * four must be valid addresses of columns; those beyond n may be any.
 */
export function accumulate<T extends Codec>(
  y: usize,
  fresh: bool,
  n: i32,
  d0: usize,
  d1: usize,
  d2: usize,
  d3: usize,
  a0: f32,
  a1: f32,
  a2: f32,
  a3: f32,
  columns: i32,
): void {
  const t = changetype<T>(0);
  const s0 = f32x4.splat(a0);
  const s1 = f32x4.splat(a1);
  const s2 = f32x4.splat(a2);
  const s3 = f32x4.splat(a3);
  for (let left = columns >> 3; left > 0; left--) {
    const p0 = t.first(d0);
    const p1 = t.first(d1);
    const p2 = t.first(d2);
    const p3 = t.first(d3);
    const q0 = t.second(d0, p0);
    const q1 = t.second(d1, p1);
    const q2 = t.second(d2, p2);
    const q3 = t.second(d3, p3);
    let low = f32x4.splat(0);
    let high = f32x4.splat(0);
    if (!fresh) {
      low = v128.load(y);
      high = v128.load(y, 16);
    }
    if (t.quick(p0, p1, p2, p3)) {
      low = V.madd(low, s0, t.quickLow(p0, q0));
      high = V.madd(high, s0, t.quickHigh(p0, q0));
      if (n > 1) {
        low = V.madd(low, s1, t.quickLow(p1, q1));
        high = V.madd(high, s1, t.quickHigh(p1, q1));
      }
      if (n > 2) {
        low = V.madd(low, s2, t.quickLow(p2, q2));
        high = V.madd(high, s2, t.quickHigh(p2, q2));
      }
      if (n > 3) {
        low = V.madd(low, s3, t.quickLow(p3, q3));
        high = V.madd(high, s3, t.quickHigh(p3, q3));
      }
    } else {
      low = V.madd(low, s0, t.low(p0, q0));
      high = V.madd(high, s0, t.high(p0, q0));
      if (n > 1) {
        low = V.madd(low, s1, t.low(p1, q1));
        high = V.madd(high, s1, t.high(p1, q1));
      }
      if (n > 2) {
        low = V.madd(low, s2, t.low(p2, q2));
        high = V.madd(high, s2, t.high(p2, q2));
      }
      if (n > 3) {
        low = V.madd(low, s3, t.low(p3, q3));
        high = V.madd(high, s3, t.high(p3, q3));
      }
    }
    v128.store(y, low);
    v128.store(y, high, 16);
    d0 += 8 * t.bytes;
    d1 += 8 * t.bytes;
    d2 += 8 * t.bytes;
    d3 += 8 * t.bytes;
    y += 32;
  }
  for (let left = columns & 7; left > 0; left--) {
    let sum = V.madd1(fresh ? 0 : load<f32>(y), a0, t.one(d0));
    if (n > 1) sum = V.madd1(sum, a1, t.one(d1));
    if (n > 2) sum = V.madd1(sum, a2, t.one(d2));
    if (n > 3) sum = V.madd1(sum, a3, t.one(d3));
    store<f32>(y, sum);
    d0 += t.bytes;
    d1 += t.bytes;
    d2 += t.bytes;
    d3 += t.bytes;
    y += 4;
  }
}

/** The same for quantised columns, which begin `skip` weights into a block. */
function accumulateBlocks<T extends BlockCodec>(
  y: usize,
  fresh: bool,
  n: i32,
  d0: usize,
  d1: usize,
  d2: usize,
  d3: usize,
  a0: f32,
  a1: f32,
  a2: f32,
  a3: f32,
  skip: i32,
  columns: i32,
): void {
  const t = changetype<T>(0);
  const nibble = NIBBLE;
  const upper = BF16_BITS;
  // The rest of an incomplete first block, and later of the last one, is added one by one.
  while (columns > 0) {
    const weights = min(columns, BLOCK - skip);
    if (weights == BLOCK) {
      let y0 = f32x4.splat(0);
      let y1 = f32x4.splat(0);
      let y2 = f32x4.splat(0);
      let y3 = f32x4.splat(0);
      let y4 = f32x4.splat(0);
      let y5 = f32x4.splat(0);
      let y6 = f32x4.splat(0);
      let y7 = f32x4.splat(0);
      if (!fresh) {
        y0 = v128.load(y);
        y1 = v128.load(y, 16);
        y2 = v128.load(y, 32);
        y3 = v128.load(y, 48);
        y4 = v128.load(y, 64);
        y5 = v128.load(y, 80);
        y6 = v128.load(y, 96);
        y7 = v128.load(y, 112);
      }
      let f = f32x4.mul(f32x4.splat(a0 * t.unit), t.scale(d0, upper));
      let o = t.open(d0);
      y0 = V.madd(y0, f, t.low(d0, o, 0, nibble));
      y1 = V.madd(y1, f, t.high(d0, o, 0, nibble));
      y2 = V.madd(y2, f, t.low(d0, o, 1, nibble));
      y3 = V.madd(y3, f, t.high(d0, o, 1, nibble));
      y4 = V.madd(y4, f, t.low(d0, o, 2, nibble));
      y5 = V.madd(y5, f, t.high(d0, o, 2, nibble));
      y6 = V.madd(y6, f, t.low(d0, o, 3, nibble));
      y7 = V.madd(y7, f, t.high(d0, o, 3, nibble));
      if (n > 1) {
        f = f32x4.mul(f32x4.splat(a1 * t.unit), t.scale(d1, upper));
        o = t.open(d1);
        y0 = V.madd(y0, f, t.low(d1, o, 0, nibble));
        y1 = V.madd(y1, f, t.high(d1, o, 0, nibble));
        y2 = V.madd(y2, f, t.low(d1, o, 1, nibble));
        y3 = V.madd(y3, f, t.high(d1, o, 1, nibble));
        y4 = V.madd(y4, f, t.low(d1, o, 2, nibble));
        y5 = V.madd(y5, f, t.high(d1, o, 2, nibble));
        y6 = V.madd(y6, f, t.low(d1, o, 3, nibble));
        y7 = V.madd(y7, f, t.high(d1, o, 3, nibble));
      }
      if (n > 2) {
        f = f32x4.mul(f32x4.splat(a2 * t.unit), t.scale(d2, upper));
        o = t.open(d2);
        y0 = V.madd(y0, f, t.low(d2, o, 0, nibble));
        y1 = V.madd(y1, f, t.high(d2, o, 0, nibble));
        y2 = V.madd(y2, f, t.low(d2, o, 1, nibble));
        y3 = V.madd(y3, f, t.high(d2, o, 1, nibble));
        y4 = V.madd(y4, f, t.low(d2, o, 2, nibble));
        y5 = V.madd(y5, f, t.high(d2, o, 2, nibble));
        y6 = V.madd(y6, f, t.low(d2, o, 3, nibble));
        y7 = V.madd(y7, f, t.high(d2, o, 3, nibble));
      }
      if (n > 3) {
        f = f32x4.mul(f32x4.splat(a3 * t.unit), t.scale(d3, upper));
        o = t.open(d3);
        y0 = V.madd(y0, f, t.low(d3, o, 0, nibble));
        y1 = V.madd(y1, f, t.high(d3, o, 0, nibble));
        y2 = V.madd(y2, f, t.low(d3, o, 1, nibble));
        y3 = V.madd(y3, f, t.high(d3, o, 1, nibble));
        y4 = V.madd(y4, f, t.low(d3, o, 2, nibble));
        y5 = V.madd(y5, f, t.high(d3, o, 2, nibble));
        y6 = V.madd(y6, f, t.low(d3, o, 3, nibble));
        y7 = V.madd(y7, f, t.high(d3, o, 3, nibble));
      }
      v128.store(y, y0);
      v128.store(y, y1, 16);
      v128.store(y, y2, 32);
      v128.store(y, y3, 48);
      v128.store(y, y4, 64);
      v128.store(y, y5, 80);
      v128.store(y, y6, 96);
      v128.store(y, y7, 112);
    } else {
      for (let i = 0; i < weights; i++) {
        const yi = y + ((<usize>i) << 2);
        let sum = fresh ? f32x4.splat(0) : v128.load_splat<f32>(yi);
        for (let k = 0; k < n; k++) {
          const d = k == 0 ? d0 : k == 1 ? d1 : k == 2 ? d2 : d3;
          const a = k == 0 ? a0 : k == 1 ? a1 : k == 2 ? a2 : a3;
          const f = f32x4.mul(f32x4.splat(a * t.unit), t.scale(d, upper));
          sum = V.madd(sum, f, f32x4.splat(t.one(d, skip + i)));
        }
        v128.store_lane<f32>(yi, sum, 0);
      }
    }
    y += (<usize>weights) << 2;
    columns -= weights;
    skip = 0;
    d0 += t.bytes;
    d1 += t.bytes;
    d2 += t.bytes;
    d3 += t.bytes;
  }
}

/** dst = the blocks of src that hold `columns` weights from the one at `skip` on, unpacked. */
function unpackBlocks<T extends BlockCodec>(dst: usize, src: usize, skip: i32, columns: i32): void {
  const t = changetype<T>(0);
  const nibble = NIBBLE;
  const upper = BF16_BITS;
  for (let left = skip + columns; left > 0; left -= BLOCK) {
    const o = t.open(src);
    v128.store(dst, t.low(src, o, 0, nibble));
    v128.store(dst, t.high(src, o, 0, nibble), 16);
    v128.store(dst, t.low(src, o, 1, nibble), 32);
    v128.store(dst, t.high(src, o, 1, nibble), 48);
    v128.store(dst, t.low(src, o, 2, nibble), 64);
    v128.store(dst, t.high(src, o, 2, nibble), 80);
    v128.store(dst, t.low(src, o, 3, nibble), 96);
    v128.store(dst, t.high(src, o, 3, nibble), 112);
    store<f32>(dst, t.unit * f32x4.extract_lane(t.scale(src, upper), 0), 128);
    src += t.bytes;
    dst += UNPACKED_BLOCK_BYTES;
  }
}

/** The sums of a format's down columns; never instantiated, like the codecs. */
@unmanaged
export abstract class Columns {
  /** Bytes from the first weight to the unit that holds weight `column`. */
  abstract offset(column: i32): usize;
  /** The weight's index within that unit. */
  abstract skip(column: i32): i32;
  abstract unpackedBytes(skip: i32, columns: i32): usize;
  abstract unpack(dst: usize, src: usize, skip: i32, columns: i32): void;
  /** y[0..columns) = (fresh ? 0 : y) + a0 d0 + a1 d1 + ..., the first n of four, in this order. */
  abstract add(
    y: usize,
    fresh: bool,
    n: i32,
    d0: usize,
    d1: usize,
    d2: usize,
    d3: usize,
    a0: f32,
    a1: f32,
    a2: f32,
    a3: f32,
    skip: i32,
    columns: i32,
  ): void;
  /** Whether `addFew` is available. */
  abstract get few(): bool;
  /** `add` of four whole columns, from the first weight on, for several positions; see accumulateFew. */
  abstract addFew(
    y: usize,
    yBytes: usize,
    acts: usize,
    actBytes: usize,
    positions: i32,
    d0: usize,
    d1: usize,
    d2: usize,
    d3: usize,
    columns: i32,
  ): void;
}

/** Formats of single weights. */
@unmanaged
export class PlainColumns<T extends Codec> extends Columns {
  @inline override offset(column: i32): usize {
    return <usize>column * changetype<T>(0).bytes;
  }
  @inline override skip(_column: i32): i32 {
    return 0;
  }
  @inline override unpackedBytes(_skip: i32, columns: i32): usize {
    return (<usize>columns) << 2;
  }
  @inline override unpack(dst: usize, src: usize, _skip: i32, columns: i32): void {
    unpack<T>(dst, src, columns);
  }
  @inline override add(
    y: usize,
    fresh: bool,
    n: i32,
    d0: usize,
    d1: usize,
    d2: usize,
    d3: usize,
    a0: f32,
    a1: f32,
    a2: f32,
    a3: f32,
    _skip: i32,
    columns: i32,
  ): void {
    accumulate<T>(y, fresh, n, d0, d1, d2, d3, a0, a1, a2, a3, columns);
  }
  @inline override get few(): bool {
    return true;
  }
  @inline override addFew(
    y: usize,
    yBytes: usize,
    acts: usize,
    actBytes: usize,
    positions: i32,
    d0: usize,
    d1: usize,
    d2: usize,
    d3: usize,
    columns: i32,
  ): void {
    accumulateFew<T>(y, yBytes, acts, actBytes, positions, d0, d1, d2, d3, columns);
  }
}

/** Formats of blocks. */
@unmanaged
export class QuantisedColumns<T extends BlockCodec> extends Columns {
  @inline override offset(column: i32): usize {
    return <usize>(column / BLOCK) * changetype<T>(0).bytes;
  }
  @inline override skip(column: i32): i32 {
    return column & (BLOCK - 1);
  }
  @inline override unpackedBytes(skip: i32, columns: i32): usize {
    return <usize>((skip + columns + BLOCK - 1) / BLOCK) * changetype<UnpackedBlock>(0).bytes;
  }
  @inline override unpack(dst: usize, src: usize, skip: i32, columns: i32): void {
    unpackBlocks<T>(dst, src, skip, columns);
  }
  @inline override add(
    y: usize,
    fresh: bool,
    n: i32,
    d0: usize,
    d1: usize,
    d2: usize,
    d3: usize,
    a0: f32,
    a1: f32,
    a2: f32,
    a3: f32,
    skip: i32,
    columns: i32,
  ): void {
    accumulateBlocks<T>(y, fresh, n, d0, d1, d2, d3, a0, a1, a2, a3, skip, columns);
  }
  @inline override get few(): bool {
    return false;
  }
  @inline override addFew(
    _y: usize,
    _yBytes: usize,
    _acts: usize,
    _actBytes: usize,
    _positions: i32,
    _d0: usize,
    _d1: usize,
    _d2: usize,
    _d3: usize,
    _columns: i32,
  ): void {
    unreachable();
  }
}
