/**
 * Rows in the block formats of GGUF files, whichever arithmetic multiplies them: their f32 values, and
 * products with those values.
 */
import { BLOCK } from './block';
import { Blocks } from './block-dot';
import { dots } from './dot';
import { F32 } from './dtype';
import { StoredBlock } from './gguf-blocks';
import { GroupCodec } from './group';
import { firstNonFiniteGroups, groupsToF32 } from './group-rows';
import { add } from './math';
import { blocksToF32 } from './quantise';

/** Reads rows of a format; never instantiated, like the codecs. */
@unmanaged
export abstract class StoredRows {
  /** Bytes of `n` weights, of whole blocks. */
  abstract bytes(n: i32): usize;
  abstract toF32(dst: usize, src: usize, n: i32): void;
  abstract firstNonFinite(src: usize, n: i32): i32;
}

@unmanaged
export class GroupRows<T extends GroupCodec> extends StoredRows {
  @inline override bytes(n: i32): usize {
    const t = changetype<T>(0);
    return <usize>(n / (32 * t.groups)) * t.bytes;
  }
  @inline override toF32(dst: usize, src: usize, n: i32): void {
    groupsToF32<T>(dst, src, n);
  }
  @inline override firstNonFinite(src: usize, n: i32): i32 {
    return firstNonFiniteGroups<T>(src, n);
  }
}

@unmanaged
export class BlockRows<T extends StoredBlock> extends StoredRows {
  @inline override bytes(n: i32): usize {
    return <usize>Blocks.count(n) * changetype<T>(0).bytes;
  }
  @inline override toF32(dst: usize, src: usize, n: i32): void {
    blocksToF32<T>(dst, src, n);
  }
  @inline override firstNonFinite(src: usize, n: i32): i32 {
    const t = changetype<T>(0);
    for (let i = 0; i < n; i += BLOCK) {
      if (!t.finite(src)) return i;
      src += t.bytes;
    }
    return -1;
  }
}

/** dst[0..n) (f32) = src[0..n). */
export function rowsToF32<R extends StoredRows>(dst: usize, src: usize, n: i32): void {
  changetype<R>(0).toF32(dst, src, n);
}

/** Index of the first of n weights whose block's scale is NaN or infinite, or -1. */
export function firstNonFiniteRow<R extends StoredRows>(src: usize, n: i32): i32 {
  return changetype<R>(0).firstNonFinite(src, n);
}

/**
 * y[p, r] = dot(w[r], x[p]) + bias[r] in f32; bias is f32, or 0 for none. Four rows at a time are
 * converted to f32 in `scratch`.
 */
export function exactMatmul<R extends StoredRows>(
  y: usize,
  x: usize,
  w: usize,
  bias: usize,
  rows: i32,
  cols: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  scratch: usize,
): void {
  const r = changetype<R>(0);
  const rowBytes = r.bytes(cols);
  for (let first = 0; first < rows; first += 4) {
    const n = min(4, rows - first);
    for (let i: usize = 0; i < <usize>n; i++) {
      r.toF32(scratch + ((i * <usize>cols) << 2), w, cols);
      w += rowBytes;
    }
    const yr = y + ((<usize>first) << 2);
    dots<F32>(yr, x, scratch, 0, n, cols, positions, xStride, yStride, 0);
    if (bias == 0) continue;
    for (let p: usize = 0; p < <usize>positions; p++) {
      add(yr + ((p * yStride) << 2), bias + ((<usize>first) << 2), n);
    }
  }
}
