/**
 * Dot products of some rows with some positions: those of a gated FFN's up rows whose gate has fired.
 *
 *     y_p,i = dot(w_i, x_p)   where gates_p,i is not 0,   0 elsewhere
 *
 * A row whose gate has fired for no position is not read. Sums are made in the order of dot.ts and
 * block-dot.ts, in which no result depends on what else is computed: so the results are the same to
 * the bit as there.
 */
import { BlockCodec } from './block';
import { Blocks, dot4 as blockDot4, quantiseAll } from './block-dot';
import { BLOCK_POSITIONS } from './block-matmul';
import { BF16_BITS, NIBBLE } from './constants';
import { dot4, dot4Packed } from './dot';
import { dot1x4 } from './dot-positions';
import { Codec } from './dtype';
import {
  ACTIVATION_BLOCK_BYTES,
  ACTIVATION_SCALE_BYTES,
  QUANTISED_POSITIONS,
} from './exports/shared-constants';
import { Quarters } from './rows';
import { V } from './vector';

/** From this many positions on, each row is read once for all of them instead of once for each. */
const ROW_ONCE: i32 = 4;

/** Four dot products at a time, of four rows or of four positions; never instantiated, like the codecs. */
@unmanaged
export abstract class Fours {
  /** Positions that are computed together, at most 64. */
  abstract get group(): i32;
  /** Bytes from one position's activations to the next, as `prepared` leaves them. */
  abstract xBytes(cols: i32, xStride: usize): usize;
  /** Address of the activations of a group of positions; `fresh` if `scratch` does not hold them yet. */
  abstract prepared(
    scratch: usize,
    x: usize,
    cols: i32,
    positions: i32,
    xStride: usize,
    fresh: bool,
  ): usize;
  /** Lane i: dot(w_i, x). */
  abstract rows(w0: usize, w1: usize, w2: usize, w3: usize, x: usize, cols: i32): v128;
  /** Lane i: dot(w, x_i). */
  abstract positions(w: usize, x0: usize, x1: usize, x2: usize, x3: usize, cols: i32): v128;
}

@unmanaged
export class PlainFours<T extends Codec> extends Fours {
  @inline override get group(): i32 {
    return 64;
  }
  @inline override xBytes(_cols: i32, xStride: usize): usize {
    return xStride << 2;
  }
  @inline override prepared(
    _scratch: usize,
    x: usize,
    _cols: i32,
    _positions: i32,
    _xStride: usize,
    _fresh: bool,
  ): usize {
    return x;
  }
  @inline override rows(w0: usize, w1: usize, w2: usize, w3: usize, x: usize, cols: i32): v128 {
    return changetype<T>(0).packed
      ? dot4Packed(w0, w1, w2, w3, x, cols)
      : dot4<T>(w0, w1, w2, w3, x, cols);
  }
  @inline override positions(
    w: usize,
    x0: usize,
    x1: usize,
    x2: usize,
    x3: usize,
    cols: i32,
  ): v128 {
    return dot1x4<T>(w, x0, x1, x2, x3, cols);
  }
}

/** The same for quantised activations. */
@unmanaged
export class BlockFours<T extends BlockCodec> extends Fours {
  @inline override get group(): i32 {
    return BLOCK_POSITIONS;
  }
  @inline override xBytes(cols: i32, _xStride: usize): usize {
    return Blocks.xBytes(cols);
  }
  @inline override prepared(
    scratch: usize,
    x: usize,
    cols: i32,
    positions: i32,
    xStride: usize,
    fresh: bool,
  ): usize {
    if (fresh) quantiseAll<T>(scratch, x, cols, positions, xStride);
    return scratch;
  }
  @inline override rows(w0: usize, w1: usize, w2: usize, w3: usize, x: usize, cols: i32): v128 {
    return blockDot4<T>(w0, w1, w2, w3, x, Blocks.count(cols));
  }
  @inline override positions(
    w: usize,
    x0: usize,
    x1: usize,
    x2: usize,
    x3: usize,
    cols: i32,
  ): v128 {
    return blockDot1x4<T>(w, x0, x1, x2, x3, Blocks.count(cols));
  }
}

/**
 * y_p[i] = dot(w_i, x_p) where gates_p[i] is not 0, else 0, for i in [0, count). Rows lie `w` bytes
 * beyond the addresses in `ptrs`. `scratch` must be as the product that computed the gates from the
 * same x has left it. Strides in elements; y and gates have the same stride.
 */
export function activeDots<F extends Fours>(
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
  const f = changetype<F>(0);
  const xBytes = f.xBytes(cols, xStride);
  const yBytes = yStride << 2;
  for (let p = 0; p < positions; p++) {
    memory.fill(y + <usize>p * yBytes, 0, (<usize>count) << 2);
  }
  for (let first = 0; first < positions; first += f.group) {
    const n = min(f.group, positions - first);
    const xs = f.prepared(
      scratch,
      x + ((<usize>first * xStride) << 2),
      cols,
      n,
      xStride,
      positions > f.group,
    );
    const at = <usize>first * yBytes;
    if (positions >= ROW_ONCE) {
      byRow<F>(y + at, gates + at, xs, w, ptrs, count, cols, n, xBytes, yBytes);
      continue;
    }
    for (let p: usize = 0; p < <usize>n; p++) {
      const row = at + p * yBytes;
      byPosition<F>(y + row, gates + row, xs + p * xBytes, w, ptrs, count, cols);
    }
  }
}

/** One position: the rows whose gate has fired, four at a time. */
function byPosition<F extends Fours>(
  y: usize,
  gates: usize,
  x: usize,
  w: usize,
  ptrs: usize,
  count: i32,
  cols: i32,
): void {
  const f = changetype<F>(0);
  // The last `waiting` of four, by their offsets in y and in the list.
  let waiting = 0;
  let at0: usize = 0;
  let at1: usize = 0;
  let at2: usize = 0;
  let at3: usize = 0;
  for (let i = 0; i < count; i += 4) {
    let fired = V.notZero(gates + ((<usize>i) << 2), count - i);
    while (fired != 0) {
      at0 = at1;
      at1 = at2;
      at2 = at3;
      at3 = (<usize>(i + ctz(fired))) << 2;
      fired &= fired - 1;
      if (++waiting < 4) continue;
      const w0 = w + <usize>load<u32>(ptrs + at0);
      const w1 = w + <usize>load<u32>(ptrs + at1);
      const w2 = w + <usize>load<u32>(ptrs + at2);
      const w3 = w + <usize>load<u32>(ptrs + at3);
      Quarters.store(y, f.rows(w0, w1, w2, w3, x, cols), at0, at1, at2, at3);
      waiting = 0;
    }
  }
  if (waiting == 0) return;
  at2 = waiting > 1 ? at2 : at3;
  at1 = waiting > 2 ? at1 : at3;
  const w1 = w + <usize>load<u32>(ptrs + at1);
  const w2 = w + <usize>load<u32>(ptrs + at2);
  const w3 = w + <usize>load<u32>(ptrs + at3);
  Quarters.store(y, f.rows(w3, w1, w2, w3, x, cols), at3, at1, at2, at3);
}

/** Several positions, at most 64: for each row the positions whose gate has fired, four at a time. */
function byRow<F extends Fours>(
  y: usize,
  gates: usize,
  x: usize,
  w: usize,
  ptrs: usize,
  count: i32,
  cols: i32,
  positions: i32,
  xBytes: usize,
  yBytes: usize,
): void {
  const f = changetype<F>(0);
  for (let i = 0; i < count; i += 4) {
    const at = (<usize>i) << 2;
    // Bit p: the gate has fired for position p; of each of four rows.
    let fired0: u64 = 0;
    let fired1: u64 = 0;
    let fired2: u64 = 0;
    let fired3: u64 = 0;
    for (let p = 0; p < positions; p++) {
      const fired = <u64>V.notZero(gates + <usize>p * yBytes + at, count - i);
      fired0 |= (fired & 1) << (<u64>p);
      fired1 |= ((fired >> 1) & 1) << (<u64>p);
      fired2 |= ((fired >> 2) & 1) << (<u64>p);
      fired3 |= ((fired >> 3) & 1) << (<u64>p);
    }
    for (let k: usize = 0; k < 4; k++) {
      const row = w + (fired0 == 0 ? 0 : <usize>load<u32>(ptrs + at + (k << 2)));
      const yi = y + at + (k << 2);
      while (fired0 != 0) {
        const p0 = <usize>ctz(fired0);
        fired0 &= fired0 - 1;
        const p1 = fired0 == 0 ? p0 : <usize>ctz(fired0);
        fired0 &= fired0 - 1;
        const p2 = fired0 == 0 ? p0 : <usize>ctz(fired0);
        fired0 &= fired0 - 1;
        const p3 = fired0 == 0 ? p0 : <usize>ctz(fired0);
        fired0 &= fired0 - 1;
        const dots = f.positions(
          row,
          x + p0 * xBytes,
          x + p1 * xBytes,
          x + p2 * xBytes,
          x + p3 * xBytes,
          cols,
        );
        Quarters.store(yi, dots, p0 * yBytes, p1 * yBytes, p2 * yBytes, p3 * yBytes);
      }
      fired0 = fired1;
      fired1 = fired2;
      fired2 = fired3;
    }
  }
}

/** Lane i: dot(w, x_i), all quantised. */
function blockDot1x4<T extends BlockCodec>(
  w: usize,
  x0: usize,
  x1: usize,
  x2: usize,
  x3: usize,
  blocks: i32,
): v128 {
  const t = changetype<T>(0);
  const nibble = NIBBLE;
  const upper = BF16_BITS;
  let scale = <usize>blocks * ACTIVATION_BLOCK_BYTES;
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  for (let left = blocks; left > 0; left--) {
    const o = t.open(w);
    const q0 = t.part(w, o, 0, nibble);
    const q1 = t.part(w, o, 1, nibble);
    const q2 = t.part(w, o, 2, nibble);
    const q3 = t.part(w, o, 3, nibble);
    const s = t.scale(w, upper);
    a0 = V.madd(a0, f32x4.mul(s, v128.load_splat<f32>(x0 + scale)), dotParts(q0, q1, q2, q3, x0));
    a1 = V.madd(a1, f32x4.mul(s, v128.load_splat<f32>(x1 + scale)), dotParts(q0, q1, q2, q3, x1));
    a2 = V.madd(a2, f32x4.mul(s, v128.load_splat<f32>(x2 + scale)), dotParts(q0, q1, q2, q3, x2));
    a3 = V.madd(a3, f32x4.mul(s, v128.load_splat<f32>(x3 + scale)), dotParts(q0, q1, q2, q3, x3));
    w += t.bytes;
    x0 += ACTIVATION_BLOCK_BYTES;
    x1 += ACTIVATION_BLOCK_BYTES;
    x2 += ACTIVATION_BLOCK_BYTES;
    x3 += ACTIVATION_BLOCK_BYTES;
    // One block fewer lies between the activations and their scale.
    scale -= ACTIVATION_BLOCK_BYTES - ACTIVATION_SCALE_BYTES;
  }
  return V.sums(a0, a1, a2, a3);
}

/** Dot product of a block's parts with quantised activations, as f32. */
function dotParts(q0: v128, q1: v128, q2: v128, q3: v128, x: usize): v128 {
  const a = i32x4.dot_i16x8_s(q0, v128.load(x));
  const b = i32x4.dot_i16x8_s(q1, v128.load(x, 16));
  const c = i32x4.dot_i16x8_s(q2, v128.load(x, 32));
  const d = i32x4.dot_i16x8_s(q3, v128.load(x, 48));
  return f32x4.convert_i32x4_s(i32x4.add(i32x4.add(a, b), i32x4.add(c, d)));
}
