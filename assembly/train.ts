/**
 * Kernels for the training of predictors, beyond matmul: a product of two f32 matrices in their stored
 * form, the gradient of the loss, and the step of the optimiser. All of it is f32, and each value is the
 * same to the bit however the work is split over threads.
 */
import { V } from './vector';

/** Terms that are summed before a tile of C is written back, so that a panel of B stays in L1. */
const DEPTH: i32 = 256;

/**
 * C[i, j] (+)= sum over k of A[i, k] B[k, j] for i < m, j < n; A may have any strides, so that it may be
 * transposed. Strides in elements; with `accumulate` 0, C is overwritten.
 */
export function gemm(
  c: usize,
  a: usize,
  b: usize,
  m: i32,
  n: i32,
  k: i32,
  aRowStride: usize,
  aColStride: usize,
  bStride: usize,
  cStride: usize,
  accumulate: i32,
): void {
  const aRow = aRowStride << 2;
  const aCol = aColStride << 2;
  const bRow = bStride << 2;
  const cRow = cStride << 2;
  if (!accumulate) {
    for (let i = 0; i < m; i++) memory.fill(c + <usize>i * cRow, 0, (<usize>n) << 2);
  }
  for (let from = 0; from < k; from += DEPTH) {
    const depth = min(DEPTH, k - from);
    const ak = a + <usize>from * aCol;
    const bk = b + <usize>from * bRow;
    for (let j = 0; j < n; j += 8) {
      const bj = bk + ((<usize>j) << 2);
      const cj = c + ((<usize>j) << 2);
      let i = 0;
      if (n - j >= 8) {
        for (; i + 4 <= m; i += 4) {
          const at = <usize>i;
          tile4x8(cj + at * cRow, ak + at * aRow, bj, depth, aRow, aCol, bRow, cRow);
        }
      }
      const width = min(8, n - j);
      for (; i < m; i++) {
        const at = <usize>i;
        tile1(cj + at * cRow, ak + at * aRow, bj, depth, width, aCol, bRow);
      }
    }
  }
}

/** Four rows and eight columns of C: eight accumulators and their operands fit in registers. */
function tile4x8(
  c: usize,
  a: usize,
  b: usize,
  depth: i32,
  aRow: usize,
  aCol: usize,
  bRow: usize,
  cRow: usize,
): void {
  const c1 = c + cRow;
  const c2 = c1 + cRow;
  const c3 = c2 + cRow;
  let s00 = v128.load(c);
  let s01 = v128.load(c, 16);
  let s10 = v128.load(c1);
  let s11 = v128.load(c1, 16);
  let s20 = v128.load(c2);
  let s21 = v128.load(c2, 16);
  let s30 = v128.load(c3);
  let s31 = v128.load(c3, 16);
  let a1 = a + aRow;
  let a2 = a1 + aRow;
  let a3 = a2 + aRow;
  for (let k = 0; k < depth; k++) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load32_splat(a);
    s00 = V.madd(s00, x, b0);
    s01 = V.madd(s01, x, b1);
    x = v128.load32_splat(a1);
    s10 = V.madd(s10, x, b0);
    s11 = V.madd(s11, x, b1);
    x = v128.load32_splat(a2);
    s20 = V.madd(s20, x, b0);
    s21 = V.madd(s21, x, b1);
    x = v128.load32_splat(a3);
    s30 = V.madd(s30, x, b0);
    s31 = V.madd(s31, x, b1);
    a += aCol;
    a1 += aCol;
    a2 += aCol;
    a3 += aCol;
    b += bRow;
  }
  v128.store(c, s00);
  v128.store(c, s01, 16);
  v128.store(c1, s10);
  v128.store(c1, s11, 16);
  v128.store(c2, s20);
  v128.store(c2, s21, 16);
  v128.store(c3, s30);
  v128.store(c3, s31, 16);
}

/** One row and up to eight columns, with the same arithmetic for each value. */
function tile1(
  c: usize,
  a: usize,
  b: usize,
  depth: i32,
  width: i32,
  aCol: usize,
  bRow: usize,
): void {
  if (width == 8) {
    let s0 = v128.load(c);
    let s1 = v128.load(c, 16);
    for (let k = 0; k < depth; k++) {
      const x = v128.load32_splat(a);
      s0 = V.madd(s0, x, v128.load(b));
      s1 = V.madd(s1, x, v128.load(b, 16));
      a += aCol;
      b += bRow;
    }
    v128.store(c, s0);
    v128.store(c, s1, 16);
    return;
  }
  for (let j = 0; j < width; j++) {
    const at = (<usize>j) << 2;
    let sum = load<f32>(c + at);
    let ak = a;
    let bk = b + at;
    for (let k = 0; k < depth; k++) {
      sum = V.madd1(sum, load<f32>(ak), load<f32>(bk));
      ak += aCol;
      bk += bRow;
    }
    store<f32>(c + at, sum);
  }
}

/**
 * Scores become the gradient of the weighted logistic loss with respect to them, over n neurons of
 * each position: weight (sigmoid(score) - fired). A neuron that fired weighs
 *
 *     min(most, floor + importance[i] activation)
 *
 * in proportion to the cost of missing it; one that did not fire weighs `idle`.
 */
export function logisticGradient(
  scores: usize,
  acts: usize,
  importance: usize,
  n: i32,
  positions: i32,
  scoreStride: usize,
  actStride: usize,
  floor: f32,
  most: f32,
  idle: f32,
): void {
  const zero = f32x4.splat(0);
  const one = f32x4.splat(1);
  for (let p = 0; p < positions; p++) {
    const s = scores + ((<usize>p * scoreStride) << 2);
    const t = acts + ((<usize>p * actStride) << 2);
    for (let i = 0; i < n; i += 4) {
      const at = (<usize>i) << 2;
      const left = n - i;
      const act = V.loadLanes(t + at, left);
      const score = V.loadLanes(s + at, left);
      const fired = f32x4.gt(act, zero);
      const worth = f32x4.add(
        f32x4.splat(floor),
        f32x4.mul(V.loadLanes(importance + at, left), act),
      );
      const weight = v128.bitselect(f32x4.min(f32x4.splat(most), worth), f32x4.splat(idle), fired);
      const sigmoid = f32x4.div(one, f32x4.add(one, V.exp(f32x4.neg(score))));
      const gradient = f32x4.mul(weight, f32x4.sub(sigmoid, v128.and(one, fired)));
      V.storeLanes(s + at, gradient, min(4, left));
    }
  }
}

/**
 * One step of AdamW over n parameters: w -= rate (m^ / (sqrt(v^) + eps) + decay w), where
 * m^ = m correction1 and v^ = v correction2.
 */
export function adamw(
  w: usize,
  g: usize,
  m: usize,
  v: usize,
  n: i32,
  rate: f32,
  beta1: f32,
  beta2: f32,
  decay: f32,
  correction1: f32,
  correction2: f32,
): void {
  const eps = f32x4.splat(1e-8);
  for (let i = 0; i < n; i += 4) {
    const at = (<usize>i) << 2;
    const left = n - i;
    const lanes = min(4, left);
    const gradient = V.loadLanes(g + at, left);
    const weight = V.loadLanes(w + at, left);
    const first = f32x4.add(
      f32x4.mul(V.loadLanes(m + at, left), f32x4.splat(beta1)),
      f32x4.mul(gradient, f32x4.splat(1 - beta1)),
    );
    let second = f32x4.add(
      f32x4.mul(V.loadLanes(v + at, left), f32x4.splat(beta2)),
      f32x4.mul(f32x4.mul(gradient, gradient), f32x4.splat(1 - beta2)),
    );
    // Values that decay towards 0 would become denormal, which is slow.
    second = v128.and(second, f32x4.gt(second, f32x4.splat(1e-30)));
    const faded = f32x4.gt(f32x4.abs(first), f32x4.splat(1e-20));
    const kept = v128.and(first, faded);
    V.storeLanes(m + at, kept, lanes);
    V.storeLanes(v + at, second, lanes);
    const root = f32x4.sqrt(f32x4.mul(second, f32x4.splat(correction2)));
    const step = f32x4.div(f32x4.mul(kept, f32x4.splat(correction1)), f32x4.add(root, eps));
    const change = f32x4.add(step, f32x4.mul(weight, f32x4.splat(decay)));
    V.storeLanes(w + at, f32x4.sub(weight, f32x4.mul(change, f32x4.splat(rate))), lanes);
  }
}
