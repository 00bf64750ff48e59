/**
 * Causal attention over a KV cache.
 *
 *     k, v     row j = position j:   | kv head 0, headDim | kv head 1 | ...      kvStride elements
 *     q, out   row p = position start + p:  | head 0, headDim | head 1 | ...     qStride, outStride
 *
 * Query head h reads kv head h / group. Position start + p attends to rows 0 to start + p, or to the
 * last `window` of these. Keys and values are f32 (Unpacked: the kernels wrote them) or f16, which halves what is read per token.
 */

import { accumulate } from './columns';
import { dot4 } from './dot';
import { Codec } from './dtype';
import { scale as scaleBy } from './math';
import { V } from './vector';

/**
 * out[p, h] = softmax(scale (q[p, h] . k + bias[h])) v for heads [headStart, headEnd); `scores` is
 * scratch of start + positions f32. What a head adds to the score of each row is f32, (heads,
 * biasStride), or 0 for none. Strides in elements.
 */
export function attention<T extends Codec>(
  out: usize,
  q: usize,
  k: usize,
  v: usize,
  scores: usize,
  headStart: i32,
  headEnd: i32,
  group: i32,
  headDim: i32,
  kvStride: usize,
  qStride: usize,
  outStride: usize,
  start: i32,
  positions: i32,
  scale: f32,
  window: i32,
  bias: usize,
  biasStride: usize,
): void {
  const bytes = changetype<T>(0).bytes;
  const rowBytes = kvStride * bytes;
  for (let h = headStart; h < headEnd; h++) {
    const kvOffset = <usize>(h / group) * <usize>headDim * bytes;
    const headOffset = (<usize>h * <usize>headDim) << 2;
    for (let p = 0; p < positions; p++) {
      const n = min(window, start + p + 1);
      const first = <usize>(start + p + 1 - n);
      const at = kvOffset + first * rowBytes;
      const qp = q + ((<usize>p * qStride) << 2) + headOffset;
      const op = out + ((<usize>p * outStride) << 2) + headOffset;
      score<T>(scores, qp, k + at, n, headDim, rowBytes, scale);
      if (bias != 0) {
        addScaled(scores, bias + ((<usize>h * biasStride + first) << 2), n, scale);
      }
      const sum = softmax(scores, n);
      memory.fill(op, 0, (<usize>headDim) << 2);
      mix<T>(op, scores, v + at, n, headDim, rowBytes);
      scaleBy(op, headDim, <f32>(1 / sum));
    }
  }
}

/** scores[j] = scale q . k_j for j in [0, n). */
function score<T extends Codec>(
  scores: usize,
  q: usize,
  k: usize,
  n: i32,
  headDim: i32,
  rowBytes: usize,
  scale: f32,
): void {
  const s = f32x4.splat(scale);
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const k0 = k + <usize>j * rowBytes;
    const k1 = k0 + rowBytes;
    const k2 = k1 + rowBytes;
    const dots = dot4<T>(k0, k1, k2, k2 + rowBytes, q, headDim);
    v128.store(scores + ((<usize>j) << 2), f32x4.mul(dots, s));
  }
  for (; j < n; j++) {
    const kj = k + <usize>j * rowBytes;
    const dots = dot4<T>(kj, kj, kj, kj, q, headDim);
    v128.store_lane<f32>(scores + ((<usize>j) << 2), f32x4.mul(dots, s), 0);
  }
}

/** scores[j] += scale bias[j] for j in [0, n). */
function addScaled(scores: usize, bias: usize, n: i32, scale: f32): void {
  const s = f32x4.splat(scale);
  for (let j = 0; j < n; j += 4) {
    const at = (<usize>j) << 2;
    const left = n - j;
    const added = f32x4.mul(V.loadLanes(bias + at, left), s);
    V.storeLanes(scores + at, f32x4.add(V.loadLanes(scores + at, left), added), min(4, left));
  }
}

/** x[j] = e^(x[j] - max x) for j in [0, n), n > 0; returns their sum. */
function softmax(x: usize, n: i32): f64 {
  const bytes = (<usize>n) << 2;
  const whole = bytes & ~15;
  let top = load<f32>(x);
  for (let c: usize = 4; c < bytes; c += 4) top = max(top, load<f32>(x + c));
  const shift = f32x4.splat(top);
  let sum = f64x2.splat(0);
  for (let c: usize = 0; c < whole; c += 16) {
    const e = V.exp(f32x4.sub(v128.load(x + c), shift));
    v128.store(x + c, e);
    sum = f64x2.add(sum, f64x2.promote_low_f32x4(e));
    sum = f64x2.add(sum, f64x2.promote_low_f32x4(i64x2.shuffle(e, e, 1, 1)));
  }
  let total = f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
  for (let c = whole; c < bytes; c += 4) {
    const e = V.exp(f32x4.sub(v128.load_splat<f32>(x + c), shift));
    v128.store_lane<f32>(x + c, e, 0);
    total += <f64>f32x4.extract_lane(e, 0);
  }
  return total;
}

/** out += sum over j of weights[j] v_j. */
function mix<T extends Codec>(
  out: usize,
  weights: usize,
  v: usize,
  n: i32,
  headDim: i32,
  rowBytes: usize,
): void {
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const w = weights + ((<usize>j) << 2);
    const v0 = v + <usize>j * rowBytes;
    const v1 = v0 + rowBytes;
    const v2 = v1 + rowBytes;
    accumulate<T>(
      out,
      false,
      4,
      v0,
      v1,
      v2,
      v2 + rowBytes,
      load<f32>(w),
      load<f32>(w, 4),
      load<f32>(w, 8),
      load<f32>(w, 12),
      headDim,
    );
  }
  for (; j < n; j++) {
    const vj = v + <usize>j * rowBytes;
    const w = load<f32>(weights + ((<usize>j) << 2));
    accumulate<T>(out, false, 1, vj, vj, vj, vj, w, w, w, w, headDim);
  }
}
