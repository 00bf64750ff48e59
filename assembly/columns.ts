/**
 * Adding scaled down columns to the FFN's output, for each kind of format: how bundles contribute,
 * whatever chose them. Every element is added to in the order of the neurons.
 */
import { BLOCK, BlockCodec, UnpackedBlock } from './block';
import { unpack } from './dot';
import { Codec } from './dtype';
import { V } from './vector';

/** y[0..columns) += a0 d0 + a1 d1 + a2 d2 + a3 d3, added in this order. */
export function accumulate4<T extends Codec>(
  y: usize,
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
    let low = v128.load(y);
    let high = v128.load(y, 16);
    if (t.quick(p0, p1, p2, p3)) {
      low = V.madd(V.madd(low, s0, t.quickLow(p0, q0)), s1, t.quickLow(p1, q1));
      low = V.madd(V.madd(low, s2, t.quickLow(p2, q2)), s3, t.quickLow(p3, q3));
      high = V.madd(V.madd(high, s0, t.quickHigh(p0, q0)), s1, t.quickHigh(p1, q1));
      high = V.madd(V.madd(high, s2, t.quickHigh(p2, q2)), s3, t.quickHigh(p3, q3));
    } else {
      low = V.madd(V.madd(low, s0, t.low(p0, q0)), s1, t.low(p1, q1));
      low = V.madd(V.madd(low, s2, t.low(p2, q2)), s3, t.low(p3, q3));
      high = V.madd(V.madd(high, s0, t.high(p0, q0)), s1, t.high(p1, q1));
      high = V.madd(V.madd(high, s2, t.high(p2, q2)), s3, t.high(p3, q3));
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
    let sum = V.madd1(load<f32>(y), a0, t.one(d0));
    sum = V.madd1(sum, a1, t.one(d1));
    sum = V.madd1(sum, a2, t.one(d2));
    sum = V.madd1(sum, a3, t.one(d3));
    store<f32>(y, sum);
    d0 += t.bytes;
    d1 += t.bytes;
    d2 += t.bytes;
    d3 += t.bytes;
    y += 4;
  }
}

/** y[0..columns) += a d. */
export function accumulate1<T extends Codec>(y: usize, d: usize, a: f32, columns: i32): void {
  const t = changetype<T>(0);
  const s = f32x4.splat(a);
  for (let left = columns >> 3; left > 0; left--) {
    const p = t.first(d);
    const q = t.second(d, p);
    v128.store(y, V.madd(v128.load(y), s, t.low(p, q)));
    v128.store(y, V.madd(v128.load(y, 16), s, t.high(p, q)), 16);
    d += 8 * t.bytes;
    y += 32;
  }
  for (let left = columns & 7; left > 0; left--) {
    store<f32>(y, V.madd1(load<f32>(y), a, t.one(d)));
    d += t.bytes;
    y += 4;
  }
}

/** y[0..columns) += a0 d0 + ... in this order, for quantised d_k that begin `skip` weights into a block. */
function addBlocks4<T extends BlockCodec>(
  y: usize,
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
  // What is left of a first block that is not whole, and later the last one, goes one by one.
  while (columns > 0) {
    const f0 = f32x4.mul(f32x4.splat(a0 * t.unit), t.scale(d0));
    const f1 = f32x4.mul(f32x4.splat(a1 * t.unit), t.scale(d1));
    const f2 = f32x4.mul(f32x4.splat(a2 * t.unit), t.scale(d2));
    const f3 = f32x4.mul(f32x4.splat(a3 * t.unit), t.scale(d3));
    const n = min(columns, BLOCK - skip);
    if (n == BLOCK) {
      const o0 = t.open(d0);
      const o1 = t.open(d1);
      const o2 = t.open(d2);
      const o3 = t.open(d3);
      BlockColumns.add4Part<T>(y, d0, d1, d2, d3, o0, o1, o2, o3, f0, f1, f2, f3, 0);
      BlockColumns.add4Part<T>(y, d0, d1, d2, d3, o0, o1, o2, o3, f0, f1, f2, f3, 1);
      BlockColumns.add4Part<T>(y, d0, d1, d2, d3, o0, o1, o2, o3, f0, f1, f2, f3, 2);
      BlockColumns.add4Part<T>(y, d0, d1, d2, d3, o0, o1, o2, o3, f0, f1, f2, f3, 3);
    } else {
      for (let i = 0; i < n; i++) {
        const yi = y + ((<usize>i) << 2);
        let sum = v128.load_splat<f32>(yi);
        sum = V.madd(sum, f0, f32x4.splat(t.one(d0, skip + i)));
        sum = V.madd(sum, f1, f32x4.splat(t.one(d1, skip + i)));
        sum = V.madd(sum, f2, f32x4.splat(t.one(d2, skip + i)));
        sum = V.madd(sum, f3, f32x4.splat(t.one(d3, skip + i)));
        v128.store_lane<f32>(yi, sum, 0);
      }
    }
    y += (<usize>n) << 2;
    columns -= n;
    skip = 0;
    d0 += t.bytes;
    d1 += t.bytes;
    d2 += t.bytes;
    d3 += t.bytes;
  }
}

/** y[0..columns) += a d, likewise. */
function addBlocks1<T extends BlockCodec>(
  y: usize,
  d: usize,
  a: f32,
  skip: i32,
  columns: i32,
): void {
  const t = changetype<T>(0);
  while (columns > 0) {
    const f = f32x4.mul(f32x4.splat(a * t.unit), t.scale(d));
    const n = min(columns, BLOCK - skip);
    if (n == BLOCK) {
      const o = t.open(d);
      BlockColumns.add1Part<T>(y, d, o, f, 0);
      BlockColumns.add1Part<T>(y, d, o, f, 1);
      BlockColumns.add1Part<T>(y, d, o, f, 2);
      BlockColumns.add1Part<T>(y, d, o, f, 3);
    } else {
      for (let i = 0; i < n; i++) {
        const yi = y + ((<usize>i) << 2);
        const sum = V.madd(v128.load_splat<f32>(yi), f, f32x4.splat(t.one(d, skip + i)));
        v128.store_lane<f32>(yi, sum, 0);
      }
    }
    y += (<usize>n) << 2;
    columns -= n;
    skip = 0;
    d += t.bytes;
  }
}

/** dst = the blocks of src that hold `columns` weights from the one at `skip` on, unpacked. */
function unpackBlocks<T extends BlockCodec>(dst: usize, src: usize, skip: i32, columns: i32): void {
  const t = changetype<T>(0);
  for (let left = skip + columns; left > 0; left -= BLOCK) {
    const o = t.open(src);
    v128.store(dst, t.low(src, o, 0));
    v128.store(dst, t.high(src, o, 0), 16);
    v128.store(dst, t.low(src, o, 1), 32);
    v128.store(dst, t.high(src, o, 1), 48);
    v128.store(dst, t.low(src, o, 2), 64);
    v128.store(dst, t.high(src, o, 2), 80);
    v128.store(dst, t.low(src, o, 3), 96);
    v128.store(dst, t.high(src, o, 3), 112);
    store<f32>(dst, t.unit * f32x4.extract_lane(t.scale(src), 0), 128);
    src += t.bytes;
    dst += 132;
  }
}

abstract class BlockColumns {
  @inline static add4Part<T extends BlockCodec>(
    y: usize,
    d0: usize,
    d1: usize,
    d2: usize,
    d3: usize,
    o0: v128,
    o1: v128,
    o2: v128,
    o3: v128,
    f0: v128,
    f1: v128,
    f2: v128,
    f3: v128,
    k: i32,
  ): void {
    const t = changetype<T>(0);
    const at = y + ((<usize>k) << 5);
    let low = v128.load(at);
    let high = v128.load(at, 16);
    low = V.madd(low, f0, t.low(d0, o0, k));
    high = V.madd(high, f0, t.high(d0, o0, k));
    low = V.madd(low, f1, t.low(d1, o1, k));
    high = V.madd(high, f1, t.high(d1, o1, k));
    low = V.madd(low, f2, t.low(d2, o2, k));
    high = V.madd(high, f2, t.high(d2, o2, k));
    low = V.madd(low, f3, t.low(d3, o3, k));
    high = V.madd(high, f3, t.high(d3, o3, k));
    v128.store(at, low);
    v128.store(at, high, 16);
  }
  @inline static add1Part<T extends BlockCodec>(
    y: usize,
    d: usize,
    o: v128,
    f: v128,
    k: i32,
  ): void {
    const t = changetype<T>(0);
    const at = y + ((<usize>k) << 5);
    v128.store(at, V.madd(v128.load(at), f, t.low(d, o, k)));
    v128.store(at, V.madd(v128.load(at, 16), f, t.high(d, o, k)), 16);
  }
}

/** How down columns of a format are added up; never instantiated, like the codecs. */
@unmanaged
export abstract class Columns {
  /** Bytes from the first weight to the unit that holds weight `column`. */
  abstract offset(column: i32): usize;
  /** How far into that unit it is. */
  abstract skip(column: i32): i32;
  abstract unpackedBytes(skip: i32, columns: i32): usize;
  abstract unpack(dst: usize, src: usize, skip: i32, columns: i32): void;
  abstract add4(
    y: usize,
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
  abstract add1(y: usize, d: usize, a: f32, skip: i32, columns: i32): void;
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
  @inline override add4(
    y: usize,
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
    accumulate4<T>(y, d0, d1, d2, d3, a0, a1, a2, a3, columns);
  }
  @inline override add1(y: usize, d: usize, a: f32, _skip: i32, columns: i32): void {
    accumulate1<T>(y, d, a, columns);
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
  @inline override add4(
    y: usize,
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
    addBlocks4<T>(y, d0, d1, d2, d3, a0, a1, a2, a3, skip, columns);
  }
  @inline override add1(y: usize, d: usize, a: f32, skip: i32, columns: i32): void {
    addBlocks1<T>(y, d, a, skip, columns);
  }
}
