/**
 * GGUF's IQ4_XS, as drawn in src/checkpoint/gguf/dequantise.ts: eight runs of 32 weights. Each weight is an
 * index into IQ4_NL's table of integers, and each run has a scale of 6 bits times the block's f16. The
 * integers take eight bits and the scales are stored apart from them, so rows are unfolded before they are
 * multiplied: to blocks that block-dot.ts can use, some rows at a time.
 *
 *     | q0 q1 q2 ... q31, i8 each | scale, f32 |    36 bytes
 */
import { BLOCK, BytesFirst } from './block';
import { Blocks, blockDots } from './block-dot';
import { EACH_15, IQ4_NL_INTEGERS } from './constants';
import { F16 } from './dtype';
import { IQ4_XS_BLOCK_BYTES } from './exports/shared-constants';
import { Dots } from './matmul';
import { blocksToF32 } from './quantise';
import { Quarters } from './rows';
import { StoredRows } from './stored-rows';

/** Weights of a stored block. */
const ELEMENTS: i32 = 256;
const UNFOLDED_BYTES: usize = 36;
/** Rows that are unfolded at a time, and positions that are multiplied with them; scratch holds this many. */
const ROWS: i32 = 40;
const POSITIONS: i32 = 8;

/** An unfolded block. */
@unmanaged
class Unfolded extends BytesFirst {
  @inline override get bytes(): usize {
    return UNFOLDED_BYTES;
  }
  @inline override scale(ptr: usize, _upper: v128): v128 {
    return v128.load_splat<f32>(ptr, 32);
  }
}

/** Unfolds the block at w to eight at `to`. Scales are exact: 11 bits times 6. */
function unfold(to: usize, w: usize): void {
  const integers = IQ4_NL_INTEGERS;
  const mask = EACH_15;
  const d = changetype<F16>(0).one(w);
  const upper = <i32>load<u16>(w, 2);
  const lower = load<i32>(w, 4);
  for (let run = 0; run < 8; run++) {
    const numbers = v128.load(w + ((<usize>run) << 4), 8);
    v128.store(to, i8x16.swizzle(integers, v128.and(numbers, mask)));
    v128.store(to, i8x16.swizzle(integers, v128.and(i16x8.shr_u(numbers, 4), mask)), 16);
    const scale = ((lower >> (4 * run)) & 15) | (((upper >> (2 * run)) & 3) << 4);
    store<f32>(to, d * <f32>(scale - 32), 32);
    to += UNFOLDED_BYTES;
  }
}

@unmanaged
export class IQ4_XSRows extends StoredRows {
  @inline override bytes(n: i32): usize {
    return <usize>(n / ELEMENTS) * IQ4_XS_BLOCK_BYTES;
  }
  /** A block is unfolded in the place of its last weights: each part is read before it is overwritten. */
  @inline override toF32(dst: usize, src: usize, n: i32): void {
    for (let left = n; left > 0; left -= ELEMENTS) {
      const unfolded = dst + ((<usize>ELEMENTS) << 2) - 8 * UNFOLDED_BYTES;
      unfold(unfolded, src);
      blocksToF32<Unfolded>(dst, unfolded, ELEMENTS);
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

/** In integers, of rows that are unfolded to `scratch`, which must be given. */
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
    if (scratch == 0) unreachable();
    const blocks = cols / ELEMENTS;
    const rowBytes = <usize>blocks * IQ4_XS_BLOCK_BYTES;
    const activations = <usize>POSITIONS * Blocks.xBytes(cols);
    for (let first = 0; first < count; first += ROWS) {
      const rows = min(ROWS, count - first);
      let to = scratch + activations;
      for (let r = 0; r < rows; r++) {
        let from = Quarters.row(w, ptrs, rowBytes, first + r);
        for (let b = 0; b < blocks; b++) {
          unfold(to, from);
          to += <usize>(ELEMENTS / BLOCK) * UNFOLDED_BYTES;
          from += IQ4_XS_BLOCK_BYTES;
        }
      }
      for (let p = 0; p < positions; p += POSITIONS) {
        blockDots<Unfolded>(
          y + ((<usize>p * yStride + <usize>first) << 2),
          x + ((<usize>p * xStride) << 2),
          scratch + activations,
          0,
          rows,
          cols,
          min(POSITIONS, positions - p),
          xStride,
          yStride,
          scratch,
        );
      }
    }
  }
}
