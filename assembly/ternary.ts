/**
 * Rows of weights that are -1, 0 or 1 times a scale, two bits each. A row of n weights is ceil(n / 256)
 * blocks, one after the other; what a row's last block has too many is 0.
 *
 *     | 64 bytes of weights                                                    | scale, f32 |    68 bytes
 *       byte 32 h + j:   bits 0-1        2-3             4-5             6-7
 *                        1 + q[128h+j]   1 + q[128h+32+j] 1 + q[128h+64+j] 1 + q[128h+96+j]
 *
 *     weight = q * scale
 *
 * That is the order of TQ2_0 in GGUF files: 16 bytes, shifted and masked, are 16 weights in a row, without
 * a shuffle. The scale is an f32, since those of whole tensors are means, which 16 bits do not hold.
 *
 * Activations are quantised to i8 with one scale for the whole row:
 *
 *     scratch = position p:  | 256 x i8 | 256 x i8 | ... | sum, i32 | sum | ... | scale, f32 |
 *
 * Models with such weights define their inputs to be rounded so: a row that was rounded already gives
 * the same integers again, and products lose nothing. `exactMatmul` takes activations as they are.
 *
 * Products with 1 + q are added in pairs as i16, whose sums within a block are below 2^13; the sum of
 * the block's activations is subtracted. The integer of a block is exact, in four lanes, and is added to
 * the row's four f32 lanes, block by block; these are added at the end. So every y is the same to the
 * bit however rows and positions are split.
 */
import { activeDots, Fours } from './active-dot';
import { Columns } from './columns';
import { TERNARY_BLOCK_BYTES, TERNARY_BLOCK_ELEMENTS } from './exports/shared-constants';
import { I } from './group-dot';
import { NeuronDots } from './matmul';
import { Quarters } from './rows';
import { StoredRows } from './stored-rows';
import { V } from './vector';

const BLOCK: i32 = TERNARY_BLOCK_ELEMENTS;
const BLOCK_BYTES: usize = TERNARY_BLOCK_BYTES;
/** Where a block has its scale. */
const SCALE_AT: usize = 64;
/** Activations are -127 to 127. */
const LEVELS: f32 = 127;
/** Activations that are smaller than this throughout a row are taken for 0: 2^-100. */
const X_MIN: f32 = 7.888609052210118e-31;
/** Positions whose activations are quantised to `scratch` at a time; it has room for so many of any row. */
const POSITIONS: i32 = 8;
/** From how many positions on a row is unpacked once for four of them. */
const ROW_ONCE: i32 = 4;

export abstract class T {
  /** Blocks of a row of `cols` weights. */
  @inline static blocks(cols: i32): i32 {
    return (cols + (BLOCK - 1)) / BLOCK;
  }
  /** Bytes of `blocks` blocks of quantised activations. */
  @inline static xBytes(blocks: i32): usize {
    return <usize>blocks * (<usize>BLOCK + 4) + 16;
  }
  /** Where the sums of quantised activations at x are, and their scale. */
  @inline static sums(x: usize, blocks: i32): usize {
    return x + <usize>(blocks * BLOCK);
  }
  @inline static scale(x: usize, blocks: i32): f32 {
    return load<f32>(T.sums(x, blocks) + ((<usize>blocks) << 2));
  }

  /** Weights i to i + 15 of the block at w, i a multiple of 16, plus 1, as u8. */
  @inline static sixteen(w: usize, i: i32): v128 {
    const bytes = v128.load(w + <usize>(((i >> 7) << 5) | (i & 16)));
    return v128.and(i16x8.shr_u(bytes, ((i >> 5) & 3) << 1), i8x16.splat(3));
  }
  /** Weight i of the block at w, without its scale. */
  @inline static one(w: usize, i: i32): f32 {
    const byte = <i32>load<u8>(w + <usize>(((i >> 7) << 5) | (i & 31)));
    return <f32>(((byte >> (((i >> 5) & 3) << 1)) & 3) - 1);
  }
  /** Four of eight weights as f32. */
  @inline static low(eight: v128, scale: v128): v128 {
    return f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(eight)), scale);
  }
  @inline static high(eight: v128, scale: v128): v128 {
    return f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(eight)), scale);
  }

  /** y[0..16) += a times weights i to i + 15 of the block at d, i a multiple of 16. */
  @inline static addSixteen(y: usize, d: usize, a: f32, i: i32): void {
    const q = i8x16.sub(T.sixteen(d, i), i8x16.splat(1));
    const s = v128.load_splat<f32>(d, SCALE_AT);
    const f = f32x4.splat(a);
    const low = i16x8.extend_low_i8x16_s(q);
    const high = i16x8.extend_high_i8x16_s(q);
    v128.store(y, V.madd(v128.load(y), f, T.low(low, s)));
    v128.store(y, V.madd(v128.load(y, 16), f, T.high(low, s)), 16);
    v128.store(y, V.madd(v128.load(y, 32), f, T.low(high, s)), 32);
    v128.store(y, V.madd(v128.load(y, 48), f, T.high(high, s)), 48);
  }

  /** acc + products with part `n` of 16 bytes of weights, in pairs. */
  @inline static add(acc: v128, bytes: v128, x: v128, n: i32): v128 {
    return i16x8.add(acc, I.pairs(x, v128.and(i16x8.shr_u(bytes, n << 1), i8x16.splat(3))));
  }
  /** acc + scale times the integer of a block, given the sums of products in pairs. */
  @inline static added(acc: v128, pairs: v128, w: usize, sum: v128): v128 {
    const integers = i32x4.sub(i32x4.extadd_pairwise_i16x8_s(pairs), sum);
    return V.madd(acc, v128.load_splat<f32>(w, SCALE_AT), f32x4.convert_i32x4_s(integers));
  }
}

/** Quantises activations x[0..cols) to `q`. */
function quantise(q: usize, x: usize, cols: i32): void {
  let top4 = f32x4.splat(0);
  for (let c = 0; c < cols; c += 4) {
    top4 = f32x4.max(top4, f32x4.abs(V.loadLanes(x + ((<usize>c) << 2), cols - c)));
  }
  top4 = f32x4.max(top4, i32x4.shuffle(top4, top4, 2, 3, 0, 1));
  const top = max(f32x4.extract_lane(top4, 0), f32x4.extract_lane(top4, 1));
  // NaN and infinity make the scale NaN, and with it every result.
  const small = top < X_MIN;
  const factor = f32x4.splat(small ? 0 : LEVELS / top);
  const blocks = T.blocks(cols);
  let sums = T.sums(q, blocks);
  for (let first = 0; first < cols; first += BLOCK) {
    let sum = i32x4.splat(0);
    for (let c = first; c < first + BLOCK; c += 16) {
      const at = x + ((<usize>c) << 2);
      const left = cols - c;
      const low = i16x8.narrow_i32x4_s(
        integers(at, left, factor),
        integers(at + 16, left - 4, factor),
      );
      const high = i16x8.narrow_i32x4_s(
        integers(at + 32, left - 8, factor),
        integers(at + 48, left - 12, factor),
      );
      const bytes = i8x16.narrow_i16x8_s(low, high);
      v128.store(q, bytes);
      sum = i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(bytes)));
      q += 16;
    }
    sum = i32x4.add(sum, i32x4.shuffle(sum, sum, 2, 3, 0, 1));
    store<i32>(sums, i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1));
    sums += 4;
  }
  store<f32>(sums, small ? 0 : top / LEVELS + (top - top));
}

/** Four activations as integers, of `left` that there are. */
function integers(x: usize, left: i32, factor: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(V.loadLanes(x, left), factor)));
}

function quantiseAll(q: usize, x: usize, cols: i32, positions: i32, xStride: usize): void {
  const xBytes = T.xBytes(T.blocks(cols));
  for (let p: usize = 0; p < <usize>positions; p++) {
    quantise(q + p * xBytes, x + ((p * xStride) << 2), cols);
  }
}

/** Lane i: dot(w_i, x), x quantised. */
function dot4(w0: usize, w1: usize, w2: usize, w3: usize, x: usize, blocks: i32): v128 {
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  const scale = T.scale(x, blocks);
  let sums = T.sums(x, blocks);
  for (let left = blocks; left > 0; left--) {
    let d0 = i16x8.splat(0);
    let d1 = i16x8.splat(0);
    let d2 = i16x8.splat(0);
    let d3 = i16x8.splat(0);
    for (let v: usize = 0; v < 64; v += 16) {
      const b0 = v128.load(w0 + v);
      const b1 = v128.load(w1 + v);
      const b2 = v128.load(w2 + v);
      const b3 = v128.load(w3 + v);
      // Bytes 32 h + 16 u are of weights 128 h + 16 u and of those 32, 64 and 96 further.
      const at = x + ((v & 32) << 2) + (v & 16);
      let x0 = v128.load(at);
      d0 = T.add(d0, b0, x0, 0);
      d1 = T.add(d1, b1, x0, 0);
      d2 = T.add(d2, b2, x0, 0);
      d3 = T.add(d3, b3, x0, 0);
      x0 = v128.load(at, 32);
      d0 = T.add(d0, b0, x0, 1);
      d1 = T.add(d1, b1, x0, 1);
      d2 = T.add(d2, b2, x0, 1);
      d3 = T.add(d3, b3, x0, 1);
      x0 = v128.load(at, 64);
      d0 = T.add(d0, b0, x0, 2);
      d1 = T.add(d1, b1, x0, 2);
      d2 = T.add(d2, b2, x0, 2);
      d3 = T.add(d3, b3, x0, 2);
      x0 = v128.load(at, 96);
      d0 = T.add(d0, b0, x0, 3);
      d1 = T.add(d1, b1, x0, 3);
      d2 = T.add(d2, b2, x0, 3);
      d3 = T.add(d3, b3, x0, 3);
    }
    const sum = v128.load32_zero(sums);
    a0 = T.added(a0, d0, w0, sum);
    a1 = T.added(a1, d1, w1, sum);
    a2 = T.added(a2, d2, w2, sum);
    a3 = T.added(a3, d3, w3, sum);
    w0 += BLOCK_BYTES;
    w1 += BLOCK_BYTES;
    w2 += BLOCK_BYTES;
    w3 += BLOCK_BYTES;
    x += BLOCK;
    sums += 4;
  }
  return f32x4.mul(V.sums(a0, a1, a2, a3), f32x4.splat(scale));
}

/** Lane i: dot(w, x_i), all quantised. */
function dot1x4(w: usize, x0: usize, x1: usize, x2: usize, x3: usize, blocks: i32): v128 {
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  let scales = f32x4.splat(T.scale(x0, blocks));
  scales = f32x4.replace_lane(scales, 1, T.scale(x1, blocks));
  scales = f32x4.replace_lane(scales, 2, T.scale(x2, blocks));
  scales = f32x4.replace_lane(scales, 3, T.scale(x3, blocks));
  let sums = T.sums(0, blocks);
  for (let left = blocks; left > 0; left--) {
    let d0 = i16x8.splat(0);
    let d1 = i16x8.splat(0);
    let d2 = i16x8.splat(0);
    let d3 = i16x8.splat(0);
    for (let i = 0; i < BLOCK; i += 16) {
      const q = T.sixteen(w, i);
      d0 = i16x8.add(d0, I.pairs(v128.load(x0 + <usize>i), q));
      d1 = i16x8.add(d1, I.pairs(v128.load(x1 + <usize>i), q));
      d2 = i16x8.add(d2, I.pairs(v128.load(x2 + <usize>i), q));
      d3 = i16x8.add(d3, I.pairs(v128.load(x3 + <usize>i), q));
    }
    a0 = T.added(a0, d0, w, v128.load32_zero(x0 + sums));
    a1 = T.added(a1, d1, w, v128.load32_zero(x1 + sums));
    a2 = T.added(a2, d2, w, v128.load32_zero(x2 + sums));
    a3 = T.added(a3, d3, w, v128.load32_zero(x3 + sums));
    w += BLOCK_BYTES;
    x0 += BLOCK;
    x1 += BLOCK;
    x2 += BLOCK;
    x3 += BLOCK;
    // One block of activations fewer lies between here and the sums.
    sums -= BLOCK - 4;
  }
  return f32x4.mul(V.sums(a0, a1, a2, a3), scales);
}

/** y_p[r] = dot(w_r, x_p) of positions whose activations were quantised to xs, at most POSITIONS. */
function groupOfPositions(
  y: usize,
  xs: usize,
  w: usize,
  ptrs: usize,
  count: i32,
  cols: i32,
  positions: i32,
  yBytes: usize,
): void {
  const blocks = T.blocks(cols);
  const rowBytes = <usize>blocks * BLOCK_BYTES;
  const xBytes = T.xBytes(blocks);
  if (positions >= ROW_ONCE) {
    for (let i = 0; i < count; i++) {
      const row = Quarters.row(w, ptrs, rowBytes, i);
      const yi = y + ((<usize>i) << 2);
      for (let j = 0; j < positions; j += 4) {
        const p = <usize>min(j, positions - 4);
        const x = xs + p * xBytes;
        const dots = dot1x4(row, x, x + xBytes, x + 2 * xBytes, x + 3 * xBytes, blocks);
        const at = p * yBytes;
        Quarters.store(yi, dots, at, at + yBytes, at + 2 * yBytes, at + 3 * yBytes);
      }
    }
    return;
  }
  const quarter = Quarters.rows(count);
  for (let i = 0; i < quarter; i++) {
    const r1 = min(i + quarter, count - 1);
    const r2 = min(i + 2 * quarter, count - 1);
    const r3 = min(i + 3 * quarter, count - 1);
    const w0 = Quarters.row(w, ptrs, rowBytes, i);
    const w1 = Quarters.row(w, ptrs, rowBytes, r1);
    const w2 = Quarters.row(w, ptrs, rowBytes, r2);
    const w3 = Quarters.row(w, ptrs, rowBytes, r3);
    for (let p: usize = 0; p < <usize>positions; p++) {
      const dots = dot4(w0, w1, w2, w3, xs + p * xBytes, blocks);
      Quarters.store(
        y + p * yBytes,
        dots,
        (<usize>i) << 2,
        (<usize>r1) << 2,
        (<usize>r2) << 2,
        (<usize>r3) << 2,
      );
    }
  }
}

/** Of `activeDots`. */
@unmanaged
class TernaryFours extends Fours {
  @inline override get group(): i32 {
    return POSITIONS;
  }
  @inline override xBytes(cols: i32, _xStride: usize): usize {
    return T.xBytes(T.blocks(cols));
  }
  @inline override prepared(
    scratch: usize,
    x: usize,
    cols: i32,
    positions: i32,
    xStride: usize,
    fresh: bool,
  ): usize {
    if (fresh) quantiseAll(scratch, x, cols, positions, xStride);
    return scratch;
  }
  @inline override rows(w0: usize, w1: usize, w2: usize, w3: usize, x: usize, cols: i32): v128 {
    return dot4(w0, w1, w2, w3, x, T.blocks(cols));
  }
  @inline override positions(
    w: usize,
    x0: usize,
    x1: usize,
    x2: usize,
    x3: usize,
    cols: i32,
  ): v128 {
    return dot1x4(w, x0, x1, x2, x3, T.blocks(cols));
  }
}

/** In integers. `scratch` must be given. */
@unmanaged
export class TernaryDots extends NeuronDots {
  @inline override dots(
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
    const yBytes = yStride << 2;
    for (let first = 0; first < positions; first += POSITIONS) {
      const group = min(POSITIONS, positions - first);
      quantiseAll(scratch, x + ((<usize>first * xStride) << 2), cols, group, xStride);
      groupOfPositions(y + <usize>first * yBytes, scratch, w, ptrs, count, cols, group, yBytes);
    }
  }
  @inline override activeDots(
    y: usize,
    gates: usize,
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
    activeDots<TernaryFours>(
      y,
      gates,
      x,
      w,
      ptrs,
      count,
      cols,
      positions,
      xStride,
      yStride,
      scratch,
    );
  }
}

/** dst[0..n) = weights [skip, skip + n) of the row at src, skip within its first block. */
function unpack(dst: usize, src: usize, skip: i32, n: i32): void {
  while (n > 0) {
    const end = min(BLOCK, skip + n);
    const scale = load<f32>(src, SCALE_AT);
    const s = f32x4.splat(scale);
    n -= end - skip;
    for (let i = skip; i < end; ) {
      if ((i & 15) == 0 && i + 16 <= end) {
        const q = i8x16.sub(T.sixteen(src, i), i8x16.splat(1));
        const a = i16x8.extend_low_i8x16_s(q);
        const b = i16x8.extend_high_i8x16_s(q);
        v128.store(dst, T.low(a, s));
        v128.store(dst, T.high(a, s), 16);
        v128.store(dst, T.low(b, s), 32);
        v128.store(dst, T.high(b, s), 48);
        i += 16;
        dst += 64;
      } else {
        store<f32>(dst, T.one(src, i) * scale);
        i++;
        dst += 4;
      }
    }
    skip = 0;
    src += BLOCK_BYTES;
  }
}

/** As rows are read: their values, and whether they are finite. */
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

/** The row of n f32 at src as blocks: the scale is a block's largest magnitude. */
export function ternaryFromF32(dst: usize, src: usize, n: i32): void {
  for (; n > 0; n -= BLOCK) {
    let top4 = f32x4.splat(0);
    for (let c = 0; c < BLOCK; c += 4) {
      top4 = f32x4.max(top4, f32x4.abs(V.loadLanes(src + ((<usize>c) << 2), n - c)));
    }
    top4 = f32x4.max(top4, i32x4.shuffle(top4, top4, 2, 3, 0, 1));
    const top = max(f32x4.extract_lane(top4, 0), f32x4.extract_lane(top4, 1));
    const inverse = f32x4.splat(top < X_MIN ? 0 : 1 / top);
    for (let v = 0; v < 64; v += 16) {
      let bytes = i16x8.splat(0);
      for (let k = 0; k < 4; k++) {
        const i = ((v & 32) << 2) + (k << 5) + (v & 16);
        const at = src + ((<usize>i) << 2);
        const low = i16x8.narrow_i32x4_s(
          integers(at, n - i, inverse),
          integers(at + 16, n - i - 4, inverse),
        );
        const high = i16x8.narrow_i32x4_s(
          integers(at + 32, n - i - 8, inverse),
          integers(at + 48, n - i - 12, inverse),
        );
        const q = i8x16.add(i8x16.narrow_i16x8_s(low, high), i8x16.splat(1));
        bytes = v128.or(bytes, i16x8.shl(q, k << 1));
      }
      v128.store(dst + <usize>v, bytes);
    }
    store<f32>(dst, top < X_MIN ? <f32>0 : top, SCALE_AT);
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
}

/** See `Columns.add`. A weight times its scale is exact, so that unpacked columns give the same. */
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
        if (fresh) memory.fill(y, 0, 64);
        T.addSixteen(y, d0, a0, i);
        if (n > 1) T.addSixteen(y, d1, a1, i);
        if (n > 2) T.addSixteen(y, d2, a2, i);
        if (n > 3) T.addSixteen(y, d3, a3, i);
        i += 16;
        y += 64;
      } else {
        let sum: f32 = fresh ? 0 : load<f32>(y);
        sum = V.madd1(sum, a0, T.one(d0, i) * load<f32>(d0, SCALE_AT));
        if (n > 1) sum = V.madd1(sum, a1, T.one(d1, i) * load<f32>(d1, SCALE_AT));
        if (n > 2) sum = V.madd1(sum, a2, T.one(d2, i) * load<f32>(d2, SCALE_AT));
        if (n > 3) sum = V.madd1(sum, a3, T.one(d3, i) * load<f32>(d3, SCALE_AT));
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
