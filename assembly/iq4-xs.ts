/**
 * GGUF's IQ4_XS, as drawn in src/checkpoint/gguf/dequantise.ts: eight runs of 32 weights. Each weight is an
 * index into IQ4_NL's table of integers, and each run has a scale of 6 bits times the block's f16. The
 * scales are stored apart from the integers, so rows are always unpacked before they are multiplied, as
 * block-matmul.ts draws it.
 */
import { blockDotsBy, UNPACKED_BYTES, Unpacked16, Unpacker } from './block-matmul';
import { EACH_15, IQ4_NL_INTEGERS } from './constants';
import { F16 } from './dtype';
import { IQ4_XS_BLOCK_BYTES } from './exports/shared-constants';
import { Dots } from './matmul';
import { blocksToF32 } from './quantise';
import { StoredRows } from './stored-rows';

/** Weights of a stored block, and its runs. */
const ELEMENTS: i32 = 256;
const RUNS: i32 = 8;

/** Unpacks the block at w to eight of 32 at `to`. Scales are exact: 11 bits times 6. */
function unpack(to: usize, w: usize): void {
  const integers = IQ4_NL_INTEGERS;
  const mask = EACH_15;
  const d = changetype<F16>(0).one(w);
  const upper = <i32>load<u16>(w, 2);
  const lower = load<i32>(w, 4);
  for (let run = 0; run < 8; run++) {
    const numbers = v128.load(w + ((<usize>run) << 4), 8);
    const first = i8x16.swizzle(integers, v128.and(numbers, mask));
    const second = i8x16.swizzle(integers, v128.and(i16x8.shr_u(numbers, 4), mask));
    v128.store(to, i16x8.extend_low_i8x16_s(first));
    v128.store(to, i16x8.extend_high_i8x16_s(first), 16);
    v128.store(to, i16x8.extend_low_i8x16_s(second), 32);
    v128.store(to, i16x8.extend_high_i8x16_s(second), 48);
    const scale = ((lower >> (4 * run)) & 15) | (((upper >> (2 * run)) & 3) << 4);
    store<f32>(to, d * <f32>(scale - 32), 64);
    to += UNPACKED_BYTES;
  }
}

@unmanaged
export class IQ4_XSRows extends StoredRows {
  @inline override bytes(n: i32): usize {
    return <usize>(n / ELEMENTS) * IQ4_XS_BLOCK_BYTES;
  }
  /** A block is unpacked in the place of its last weights: each part is read before it is overwritten. */
  @inline override toF32(dst: usize, src: usize, n: i32): void {
    for (let left = n; left > 0; left -= ELEMENTS) {
      const unpacked = dst + ((<usize>ELEMENTS) << 2) - <usize>RUNS * UNPACKED_BYTES;
      unpack(unpacked, src);
      blocksToF32<Unpacked16>(dst, unpacked, ELEMENTS);
      dst += (<usize>ELEMENTS) << 2;
      src += IQ4_XS_BLOCK_BYTES;
    }
  }
  @inline override firstNonFinite(src: usize, n: i32): i32 {
    for (let i = 0; i < n; i += ELEMENTS) {
      if (!F16.finite(src)) return i;
      src += IQ4_XS_BLOCK_BYTES;
    }
    return -1;
  }
}

@unmanaged
class OfIQ4_XS extends Unpacker {
  @inline override rowBytes(blocks: i32): usize {
    return <usize>(blocks / RUNS) * IQ4_XS_BLOCK_BYTES;
  }
  @inline override unpack(to: usize, w: usize, blocks: i32): void {
    for (let left = blocks; left > 0; left -= RUNS) {
      unpack(to, w);
      to += <usize>RUNS * UNPACKED_BYTES;
      w += IQ4_XS_BLOCK_BYTES;
    }
  }
}

/** In integers, of unpacked rows. `scratch` must be given. */
@unmanaged
export class IQ4_XSDots extends Dots {
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
    blockDotsBy<Unpacked16, OfIQ4_XS>(
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
      1,
    );
  }
}
