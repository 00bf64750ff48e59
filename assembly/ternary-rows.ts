/**
 * Rows of weights that are -1, 0 or 1 times a scale, two bits each. A row of n weights is ceil(n / 256)
 * blocks, one after the other; surplus weights of a row's last block are 0.
 *
 *     | 64 bytes of weights                                                         | scale, f32 |    68 bytes
 *       byte 32 h + j:   bits 0-1        2-3                4-5                6-7
 *                        1 + q[128h+j]   1 + q[128h+32+j]   1 + q[128h+64+j]   1 + q[128h+96+j]
 *
 *     weight = q * scale
 *
 * That is the order of TQ2_0 in GGUF files: 16 bytes, shifted and masked, are 16 consecutive weights, without
 * a shuffle. The scale is an f32, since scales of whole tensors are means, which 16 bits cannot hold. A
 * weight is exact in f32.
 */
import { Columns } from './columns';
import { TERNARY_BLOCK_BYTES, TERNARY_BLOCK_ELEMENTS } from './exports/shared-constants';
import { StoredRows } from './stored-rows';
import { V } from './vector';

/** Weights of a block, and its bytes. */
export const BLOCK: i32 = TERNARY_BLOCK_ELEMENTS;
export const BLOCK_BYTES: usize = TERNARY_BLOCK_BYTES;
/** Offset of the scale in a block. */
export const SCALE_AT: usize = 64;
/** A block whose weights are all smaller than this becomes 0: 2^-100. */
const WEIGHT_MIN: f32 = 7.888609052210118e-31;

/** Arithmetic with blocks. */
export abstract class T {
  /** Blocks of a row of `cols` weights. */
  @inline static blocks(cols: i32): i32 {
    return (cols + (BLOCK - 1)) / BLOCK;
  }

  /** Weights i to i + 15 of the block at w, i a multiple of 16, plus 1, as u8. */
  @inline static sixteen(w: usize, i: i32): v128 {
    const bytes = v128.load(w + <usize>(((i >> 7) << 5) | (i & 16)));
    return v128.and(i16x8.shr_u(bytes, ((i >> 5) & 3) << 1), i8x16.splat(3));
  }
  /** The first eight of these without the 1 that is added, as i16. */
  @inline static first(sixteen: v128): v128 {
    return i16x8.extend_low_i8x16_s(i8x16.sub(sixteen, i8x16.splat(1)));
  }
  /** The other eight. */
  @inline static second(sixteen: v128): v128 {
    return i16x8.extend_high_i8x16_s(i8x16.sub(sixteen, i8x16.splat(1)));
  }
  /** Four of eight weights as f32. */
  @inline static low(eight: v128, scale: v128): v128 {
    return f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(eight)), scale);
  }
  @inline static high(eight: v128, scale: v128): v128 {
    return f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(eight)), scale);
  }
  /** Weight i of the block at w. */
  @inline static one(w: usize, i: i32): f32 {
    const byte = <i32>load<u8>(w + <usize>(((i >> 7) << 5) | (i & 31)));
    return <f32>(((byte >> (((i >> 5) & 3) << 1)) & 3) - 1) * load<f32>(w, SCALE_AT);
  }

  /** The integers nearest to up to four f32 times a factor; `left` f32 are left. */
  @inline static integers(x: usize, left: i32, factor: v128): v128 {
    return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(V.loadLanes(x, left), factor)));
  }
  /** The same of 16, as i8. */
  @inline static bytes(x: usize, left: i32, factor: v128): v128 {
    const low = i16x8.narrow_i32x4_s(
      T.integers(x, left, factor),
      T.integers(x + 16, left - 4, factor),
    );
    const high = i16x8.narrow_i32x4_s(
      T.integers(x + 32, left - 8, factor),
      T.integers(x + 48, left - 12, factor),
    );
    return i8x16.narrow_i16x8_s(low, high);
  }
  /** The largest magnitude of n f32; NaN if there is one. */
  @inline static top(x: usize, n: i32): f32 {
    let top4 = f32x4.splat(0);
    for (let c = 0; c < n; c += 4) {
      top4 = f32x4.max(top4, f32x4.abs(V.loadLanes(x + ((<usize>c) << 2), n - c)));
    }
    top4 = f32x4.max(top4, i32x4.shuffle(top4, top4, 2, 3, 0, 1));
    return max(f32x4.extract_lane(top4, 0), f32x4.extract_lane(top4, 1));
  }
}

/** dst[0..n) = weights [skip, skip + n) of the row at src, skip within its first block. */
function unpack(dst: usize, src: usize, skip: i32, n: i32): void {
  while (n > 0) {
    const end = min(BLOCK, skip + n);
    const s = v128.load_splat<f32>(src, SCALE_AT);
    n -= end - skip;
    for (let i = skip; i < end; ) {
      if ((i & 15) == 0 && i + 16 <= end) {
        const q = T.sixteen(src, i);
        const a = T.first(q);
        const b = T.second(q);
        v128.store(dst, T.low(a, s));
        v128.store(dst, T.high(a, s), 16);
        v128.store(dst, T.low(b, s), 32);
        v128.store(dst, T.high(b, s), 48);
        i += 16;
        dst += 64;
      } else {
        store<f32>(dst, T.one(src, i));
        i++;
        dst += 4;
      }
    }
    skip = 0;
    src += BLOCK_BYTES;
  }
}

/** Reads rows: their values, and whether they are finite. */
@unmanaged
export class TernaryRows extends StoredRows {
  @inline override bytes(n: i32): usize {
    return <usize>T.blocks(n) * BLOCK_BYTES;
  }
  @inline override toF32(dst: usize, src: usize, n: i32): void {
    unpack(dst, src, 0, n);
  }
  @inline override firstNonFinite(src: usize, n: i32): i32 {
    for (let i = 0; i < n; i += BLOCK) {
      if ((load<u32>(src, SCALE_AT) & 0x7f800000) == 0x7f800000) return i;
      src += BLOCK_BYTES;
    }
    return -1;
  }
}

/** Quantises the row of n f32 at src to blocks; the scale is a block's largest magnitude. */
export function ternaryFromF32(dst: usize, src: usize, n: i32): void {
  for (; n > 0; n -= BLOCK) {
    const top = T.top(src, min(n, BLOCK));
    const small = top < WEIGHT_MIN;
    const inverse = f32x4.splat(small ? 0 : 1 / top);
    for (let v = 0; v < 64; v += 16) {
      let bytes = i16x8.splat(0);
      for (let k = 0; k < 4; k++) {
        const i = ((v & 32) << 2) + (k << 5) + (v & 16);
        const q = T.bytes(src + ((<usize>i) << 2), n - i, inverse);
        bytes = v128.or(bytes, i16x8.shl(i8x16.add(q, i8x16.splat(1)), k << 1));
      }
      v128.store(dst + <usize>v, bytes);
    }
    store<f32>(dst, small ? <f32>0 : top, SCALE_AT);
    dst += BLOCK_BYTES;
    src += (<usize>BLOCK) << 2;
  }
}

/** Sums of down columns. */
@unmanaged
export class TernaryColumns extends Columns {
  @inline override offset(column: i32): usize {
    return <usize>(column / BLOCK) * BLOCK_BYTES;
  }
  @inline override skip(column: i32): i32 {
    return column & (BLOCK - 1);
  }
  @inline override unpackedBytes(_skip: i32, columns: i32): usize {
    return (<usize>columns) << 2;
  }
  @inline override unpack(dst: usize, src: usize, skip: i32, columns: i32): void {
    unpack(dst, src, skip, columns);
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
    addColumns(y, fresh, n, d0, d1, d2, d3, a0, a1, a2, a3, skip, columns);
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

/** See `Columns.add`: with unpacked columns the same to the bit, as weights are exact in f32. */
function addColumns(
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
  while (columns > 0) {
    const end = min(BLOCK, skip + columns);
    columns -= end - skip;
    for (let i = skip; i < end; ) {
      if ((i & 15) == 0 && i + 16 <= end) {
        addSixteen(y, fresh, n, d0, d1, d2, d3, a0, a1, a2, a3, i);
        i += 16;
        y += 64;
      } else {
        let sum: f32 = fresh ? 0 : load<f32>(y);
        sum = V.madd1(sum, a0, T.one(d0, i));
        if (n > 1) sum = V.madd1(sum, a1, T.one(d1, i));
        if (n > 2) sum = V.madd1(sum, a2, T.one(d2, i));
        if (n > 3) sum = V.madd1(sum, a3, T.one(d3, i));
        store<f32>(y, sum);
        i++;
        y += 4;
      }
    }
    skip = 0;
    d0 += BLOCK_BYTES;
    d1 += BLOCK_BYTES;
    d2 += BLOCK_BYTES;
    d3 += BLOCK_BYTES;
  }
}

/** The same of weights i to i + 15 of a block, i a multiple of 16. */
function addSixteen(
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
  i: i32,
): void {
  let y0 = f32x4.splat(0);
  let y1 = f32x4.splat(0);
  let y2 = f32x4.splat(0);
  let y3 = f32x4.splat(0);
  if (!fresh) {
    y0 = v128.load(y);
    y1 = v128.load(y, 16);
    y2 = v128.load(y, 32);
    y3 = v128.load(y, 48);
  }
  for (let k = 0; k < n; k++) {
    const d = k == 0 ? d0 : k == 1 ? d1 : k == 2 ? d2 : d3;
    const f = f32x4.splat(k == 0 ? a0 : k == 1 ? a1 : k == 2 ? a2 : a3);
    const s = v128.load_splat<f32>(d, SCALE_AT);
    const q = T.sixteen(d, i);
    const a = T.first(q);
    const b = T.second(q);
    y0 = V.madd(y0, f, T.low(a, s));
    y1 = V.madd(y1, f, T.high(a, s));
    y2 = V.madd(y2, f, T.low(b, s));
    y3 = V.madd(y3, f, T.high(b, s));
  }
  v128.store(y, y0);
  v128.store(y, y1, 16);
  v128.store(y, y2, 32);
  v128.store(y, y3, 48);
}
