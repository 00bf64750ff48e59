/**
 * Rotary position embedding: pairs of a head's values are turned by an angle that depends on the
 * position and the pair.
 *
 *     x          row p:   | head 0, headDim | head 1 | ...      xStride elements
 *     cos, sin   row p:   | pair 0 ... pairs - 1 |              pairs elements
 *
 * Only the first 2 x pairs values of a head are turned. Pair i is (i, i + pairs) or (2i, 2i + 1).
 */
import { V } from './vector';

/** Pairs (i, i + pairs), as in GPT-NeoX and the Hugging Face form of Llama. */
export function rotaryHalves(
  x: usize,
  cos: usize,
  sin: usize,
  heads: i32,
  headDim: i32,
  pairs: i32,
  positions: i32,
  xStride: usize,
): void {
  const half = (<usize>pairs) << 2;
  for (let p = 0; p < positions; p++) {
    for (let h = 0; h < heads; h++) {
      const head = x + ((<usize>h * <usize>headDim) << 2);
      for (let i = 0; i < pairs; i += 4) {
        const at = (<usize>i) << 2;
        const n = min(pairs - i, 4);
        const c = V.loadLanes(cos + at, n);
        const s = V.loadLanes(sin + at, n);
        const a = V.loadLanes(head + at, n);
        const b = V.loadLanes(head + half + at, n);
        V.storeLanes(head + at, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)), n);
        V.storeLanes(head + half + at, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)), n);
      }
    }
    x += xStride << 2;
    cos += half;
    sin += half;
  }
}

/** Pairs (2i, 2i + 1), as in GPT-J and the original Llama. */
export function rotaryInterleaved(
  x: usize,
  cos: usize,
  sin: usize,
  heads: i32,
  headDim: i32,
  pairs: i32,
  positions: i32,
  xStride: usize,
): void {
  for (let p = 0; p < positions; p++) {
    for (let h = 0; h < heads; h++) {
      const head = x + ((<usize>h * <usize>headDim) << 2);
      for (let i = 0; i < pairs; i += 4) {
        const n = min(pairs - i, 4);
        const at = head + ((<usize>i) << 3);
        const c = V.loadLanes(cos + ((<usize>i) << 2), n);
        const s = V.loadLanes(sin + ((<usize>i) << 2), n);
        const low = V.loadLanes(at, 2 * n);
        const high = V.loadLanes(at + 16, 2 * n - 4);
        const a = i32x4.shuffle(low, high, 0, 2, 4, 6);
        const b = i32x4.shuffle(low, high, 1, 3, 5, 7);
        const first = f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s));
        const second = f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s));
        V.storeLanes(at, i32x4.shuffle(first, second, 0, 4, 1, 5), min(2 * n, 4));
        if (n > 2) {
          V.storeLanes(at + 16, i32x4.shuffle(first, second, 2, 6, 3, 7), 2 * n - 4);
        }
      }
    }
    x += xStride << 2;
    cos += (<usize>pairs) << 2;
    sin += (<usize>pairs) << 2;
  }
}
