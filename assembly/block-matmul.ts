/**
 * Dot products of rows of signed integers in blocks (block-dot.ts) with the activations of any number of
 * positions. Weights that several positions share are unpacked to i16 once, four rows at a time:
 *
 *     | q0 q1 q2 ... q31, i16 each | scale, f32 |    68 bytes, as many as a block of activations
 *
 * They take the place of four positions in scratch. Results are the same to the bit.
 */
import { BlockCodec } from './block';
import { Blocks, dot2, dot4, quantiseAll } from './block-dot';
import { BF16_BITS, NIBBLE } from './constants';
import { QUANTISED_POSITIONS } from './exports/shared-constants';
import { Quarters } from './rows';
import { Three, Two } from './width';

/** Positions whose activations are in scratch together, beside four unpacked rows. */
export const BLOCK_POSITIONS: i32 = QUANTISED_POSITIONS - 4;
/** From this many positions on, unpacking once is faster than once for each two or three of them. */
const UNPACK_FROM: i32 = 4;
export const UNPACKED_BYTES: usize = 68;

/** An unpacked block. */
@unmanaged
export class Unpacked16 extends BlockCodec {
  @inline override get bytes(): usize {
    return UNPACKED_BYTES;
  }
  @inline override get unit(): f32 {
    return 1;
  }
  @inline override get levels(): f32 {
    return 32767;
  }
  @inline override open(_ptr: usize): v128 {
    return i32x4.splat(0);
  }
  @inline override part(ptr: usize, _open: v128, k: i32, _nibble: v128): v128 {
    return v128.load(ptr + ((<usize>k) << 4));
  }
  @inline override low(ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(this.part(ptr, open, k, nibble)));
  }
  @inline override high(ptr: usize, open: v128, k: i32, nibble: v128): v128 {
    return f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(this.part(ptr, open, k, nibble)));
  }
  @inline override scale(ptr: usize, _upper: v128): v128 {
    return v128.load_splat<f32>(ptr, 64);
  }
  @inline override one(ptr: usize, i: i32): f32 {
    return <f32>load<i16>(ptr + ((<usize>i) << 1));
  }
}

/** How rows of a format are unpacked; never instantiated, like the codecs. */
@unmanaged
export abstract class Unpacker {
  /** Bytes of a row of `blocks` blocks of 32. */
  abstract rowBytes(blocks: i32): usize;
  /** Unpacks a row to `blocks` blocks of `Unpacked16`. */
  abstract unpack(to: usize, w: usize, blocks: i32): void;
}

@unmanaged
class OfBlocks<T extends BlockCodec> extends Unpacker {
  @inline override rowBytes(blocks: i32): usize {
    return <usize>blocks * changetype<T>(0).bytes;
  }
  @inline override unpack(to: usize, w: usize, blocks: i32): void {
    const t = changetype<T>(0);
    const nibble = NIBBLE;
    const upper = BF16_BITS;
    for (let left = blocks; left > 0; left--) {
      const open = t.open(w);
      v128.store(to, t.part(w, open, 0, nibble));
      v128.store(to, t.part(w, open, 1, nibble), 16);
      v128.store(to, t.part(w, open, 2, nibble), 32);
      v128.store(to, t.part(w, open, 3, nibble), 48);
      v128.store_lane<f32>(to, t.scale(w, upper), 0, 64);
      to += UNPACKED_BYTES;
      w += t.bytes;
    }
  }
}

/** Two rows with two or more positions: twos and threes that make up the positions; 5 are 3 and 2. */
function dotsOfTwo<T extends BlockCodec>(
  y: usize,
  yBytes: usize,
  apart: usize,
  w0: usize,
  w1: usize,
  x: usize,
  xBytes: usize,
  blocks: i32,
  positions: i32,
): void {
  const twos = positions % 3 == 0 ? 0 : 3 - (positions % 3);
  for (let p = 0; p < 2 * twos; p += 2) {
    dot2<T, Two>(y, yBytes, apart, w0, w1, x, xBytes, blocks);
    y += 2 * yBytes;
    x += 2 * xBytes;
  }
  for (let p = 2 * twos; p < positions; p += 3) {
    dot2<T, Three>(y, yBytes, apart, w0, w1, x, xBytes, blocks);
    y += 3 * yBytes;
    x += 3 * xBytes;
  }
}

/** Products of four rows, whose results are at these offsets from y in bytes. */
function dotsOfFour<T extends BlockCodec>(
  y: usize,
  yBytes: usize,
  at0: usize,
  at1: usize,
  at2: usize,
  at3: usize,
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  x: usize,
  xBytes: usize,
  blocks: i32,
  positions: i32,
): void {
  if (positions == 1) {
    Quarters.store(y, dot4<T>(w0, w1, w2, w3, x, blocks), at0, at1, at2, at3);
  } else {
    dotsOfTwo<T>(y + at0, yBytes, at1 - at0, w0, w1, x, xBytes, blocks, positions);
    dotsOfTwo<T>(y + at2, yBytes, at3 - at2, w2, w3, x, xBytes, blocks, positions);
  }
}

/**
 * y_p[r] = dot(w_r, x_p) for r in [0, count), p in [0, positions), with rows unpacked by U if there are at
 * least `unpackFrom` positions. Activations are quantised as T says.
 */
export function blockDotsBy<T extends BlockCodec, U extends Unpacker>(
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
  unpackFrom: i32,
): void {
  if (scratch == 0) unreachable();
  const u = changetype<U>(0);
  const blocks = Blocks.count(cols);
  const rowBytes = u.rowBytes(blocks);
  const xBytes = Blocks.xBytes(cols);
  const yBytes = yStride << 2;
  const f0 = scratch + <usize>BLOCK_POSITIONS * xBytes;
  const f1 = f0 + <usize>blocks * UNPACKED_BYTES;
  const f2 = f1 + <usize>blocks * UNPACKED_BYTES;
  const f3 = f2 + <usize>blocks * UNPACKED_BYTES;
  const quarter = Quarters.rows(count);
  for (let first = 0; first < positions; first += BLOCK_POSITIONS) {
    const n = min(BLOCK_POSITIONS, positions - first);
    quantiseAll<T>(scratch, x, cols, n, xStride);
    for (let i = 0; i < quarter; i++) {
      const r1 = min(i + quarter, count - 1);
      const r2 = min(i + 2 * quarter, count - 1);
      const r3 = min(i + 3 * quarter, count - 1);
      const w0 = Quarters.row(w, ptrs, rowBytes, i);
      const w1 = Quarters.row(w, ptrs, rowBytes, r1);
      const w2 = Quarters.row(w, ptrs, rowBytes, r2);
      const w3 = Quarters.row(w, ptrs, rowBytes, r3);
      const at0 = (<usize>i) << 2;
      const at1 = (<usize>r1) << 2;
      const at2 = (<usize>r2) << 2;
      const at3 = (<usize>r3) << 2;
      if (n < unpackFrom) {
        dotsOfFour<T>(y, yBytes, at0, at1, at2, at3, w0, w1, w2, w3, scratch, xBytes, blocks, n);
        continue;
      }
      u.unpack(f0, w0, blocks);
      u.unpack(f1, w1, blocks);
      u.unpack(f2, w2, blocks);
      u.unpack(f3, w3, blocks);
      dotsOfFour<Unpacked16>(
        y,
        yBytes,
        at0,
        at1,
        at2,
        at3,
        f0,
        f1,
        f2,
        f3,
        scratch,
        xBytes,
        blocks,
        n,
      );
    }
    x += (<usize>n * xStride) << 2;
    y += <usize>n * yBytes;
  }
}

/**
 * y_p[r] = dot(w_r, x_p) for r in [0, count), p in [0, positions). Rows lie `w` bytes
 * beyond the addresses in `ptrs`; without `ptrs`, one after the other from `w` on.
 * `scratch` has room for the quantised activations of QUANTISED_POSITIONS positions and must be given.
 */
export function blockDots<T extends BlockCodec>(
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
  blockDotsBy<T, OfBlocks<T>>(
    y,
    x,
    w,
    ptrs,
    count,
    cols,
    positions,
    xStride,
    yStride,
    scratch,
    UNPACK_FROM,
  );
}
