/**
 * Dot products of ternary rows (ternary-rows.ts) with activations, in integers.
 *
 * Activations are quantised to i8 with one scale for the whole row:
 *
 *     scratch = position p:  | 256 x i8 | 256 x i8 | ... | sum, i32 | sum | ... | scale, f32 |
 *
 * Models with such weights define that their inputs are rounded in this way: a row that is already rounded
 * gives the same integers again, and products lose nothing. `exactMatmul` uses unrounded activations.
 *
 * Products with 1 + q are added in pairs as i16, whose sums within a block are below 2^13; the sum of
 * the block's activations is subtracted. The integer of a block is exact, in four lanes, and is added to
 * the row's four f32 lanes, block by block; these are added at the end. So every y is the same to the
 * bit however rows and positions are split.
 */
import { activeDots, Fours } from './active-dot';
import { I } from './group-dot';
import { NeuronDots } from './matmul';
import { Quarters } from './rows';
import { BLOCK, BLOCK_BYTES, SCALE_AT, T } from './ternary-rows';
import { V } from './vector';

/** Activations are -127 to 127. */
const LEVELS: f32 = 127;
/** A row whose activations are all smaller than this is taken for 0: 2^-100. */
const X_MIN: f32 = 7.888609052210118e-31;
/** Positions whose activations are quantised to `scratch` at a time; it has room for this many. */
const POSITIONS: i32 = 8;
/** From this many positions on, a row is unpacked once for four of them. */
const ROW_ONCE: i32 = 4;

/** Quantised activations. */
abstract class X {
  /** Bytes of `blocks` blocks. */
  @inline static bytes(blocks: i32): usize {
    return <usize>blocks * (<usize>BLOCK + 4) + 16;
  }
  /** Address of the sums for the activations at x. */
  @inline static sums(x: usize, blocks: i32): usize {
    return x + <usize>(blocks * BLOCK);
  }
  @inline static scale(x: usize, blocks: i32): f32 {
    return load<f32>(X.sums(x, blocks) + ((<usize>blocks) << 2));
  }
}

/** Products. */
abstract class P {
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
  const top = T.top(x, cols);
  // NaN and infinity make the scale NaN, and with it every result.
  const small = top < X_MIN;
  const factor = f32x4.splat(small ? 0 : LEVELS / top);
  let sums = X.sums(q, T.blocks(cols));
  for (let first = 0; first < cols; first += BLOCK) {
    let sum = i32x4.splat(0);
    for (let c = first; c < first + BLOCK; c += 16) {
      const bytes = T.bytes(x + ((<usize>c) << 2), cols - c, factor);
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

function quantiseAll(q: usize, x: usize, cols: i32, positions: i32, xStride: usize): void {
  const xBytes = X.bytes(T.blocks(cols));
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
  const scale = X.scale(x, blocks);
  let sums = X.sums(x, blocks);
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
      // The bytes from 32 h + 16 u on hold weights from 128 h + 16 u on, and those 32, 64 and 96 further.
      const at = x + ((v & 32) << 2) + (v & 16);
      let x0 = v128.load(at);
      d0 = P.add(d0, b0, x0, 0);
      d1 = P.add(d1, b1, x0, 0);
      d2 = P.add(d2, b2, x0, 0);
      d3 = P.add(d3, b3, x0, 0);
      x0 = v128.load(at, 32);
      d0 = P.add(d0, b0, x0, 1);
      d1 = P.add(d1, b1, x0, 1);
      d2 = P.add(d2, b2, x0, 1);
      d3 = P.add(d3, b3, x0, 1);
      x0 = v128.load(at, 64);
      d0 = P.add(d0, b0, x0, 2);
      d1 = P.add(d1, b1, x0, 2);
      d2 = P.add(d2, b2, x0, 2);
      d3 = P.add(d3, b3, x0, 2);
      x0 = v128.load(at, 96);
      d0 = P.add(d0, b0, x0, 3);
      d1 = P.add(d1, b1, x0, 3);
      d2 = P.add(d2, b2, x0, 3);
      d3 = P.add(d3, b3, x0, 3);
    }
    const sum = v128.load32_zero(sums);
    a0 = P.added(a0, d0, w0, sum);
    a1 = P.added(a1, d1, w1, sum);
    a2 = P.added(a2, d2, w2, sum);
    a3 = P.added(a3, d3, w3, sum);
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
  let scales = f32x4.splat(X.scale(x0, blocks));
  scales = f32x4.replace_lane(scales, 1, X.scale(x1, blocks));
  scales = f32x4.replace_lane(scales, 2, X.scale(x2, blocks));
  scales = f32x4.replace_lane(scales, 3, X.scale(x3, blocks));
  let sums = X.sums(0, blocks);
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
    a0 = P.added(a0, d0, w, v128.load32_zero(x0 + sums));
    a1 = P.added(a1, d1, w, v128.load32_zero(x1 + sums));
    a2 = P.added(a2, d2, w, v128.load32_zero(x2 + sums));
    a3 = P.added(a3, d3, w, v128.load32_zero(x3 + sums));
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
  const xBytes = X.bytes(blocks);
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

/** The dot products for `activeDots`. */
@unmanaged
class TernaryFours extends Fours {
  @inline override get group(): i32 {
    return POSITIONS;
  }
  @inline override xBytes(cols: i32, _xStride: usize): usize {
    return X.bytes(T.blocks(cols));
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
    _quantised: bool,
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
