/** Layer norm and RMS norm over rows of f32. Sums are f64, in two passes, so that nothing cancels. */

/** Sum of (x - shift)^power, power 1 or 2, in f64. */
function sumOf(x: usize, n: i32, shift: f64, square: bool): f64 {
  const s = f64x2.splat(shift);
  let a = f64x2.splat(0);
  let b = f64x2.splat(0);
  let c: i32 = 0;
  for (; c + 4 <= n; c += 4) {
    const v = v128.load(x + ((<usize>c) << 2));
    const lo = f64x2.sub(f64x2.promote_low_f32x4(v), s);
    const hi = f64x2.sub(f64x2.promote_low_f32x4(i64x2.shuffle(v, v, 1, 1)), s);
    a = f64x2.add(a, square ? f64x2.mul(lo, lo) : lo);
    b = f64x2.add(b, square ? f64x2.mul(hi, hi) : hi);
  }
  a = f64x2.add(a, b);
  let sum = f64x2.extract_lane(a, 0) + f64x2.extract_lane(a, 1);
  for (; c < n; c++) {
    const d = <f64>load<f32>(x + ((<usize>c) << 2)) - shift;
    sum += square ? d * d : d;
  }
  return sum;
}

/** y = (x - mean) factor weight + bias; weight and bias 0 for none. */
function affine(
  y: usize,
  x: usize,
  weight: usize,
  bias: usize,
  n: i32,
  mean: f64,
  factor: f64,
): void {
  const m = f64x2.splat(mean);
  const f = f64x2.splat(factor);
  const end = (<usize>n) << 2;
  let c: usize = 0;
  for (; c + 16 <= end; c += 16) {
    const v = v128.load(x + c);
    const low = f64x2.mul(f64x2.sub(f64x2.promote_low_f32x4(v), m), f);
    const upper = i64x2.shuffle(v, v, 1, 1);
    const high = f64x2.mul(f64x2.sub(f64x2.promote_low_f32x4(upper), m), f);
    let r = i64x2.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
    if (weight != 0) r = f32x4.mul(r, v128.load(weight + c));
    if (bias != 0) r = f32x4.add(r, v128.load(bias + c));
    v128.store(y + c, r);
  }
  for (; c < end; c += 4) {
    let r = <f32>((<f64>load<f32>(x + c) - mean) * factor);
    if (weight != 0) r *= load<f32>(weight + c);
    if (bias != 0) r += load<f32>(bias + c);
    store<f32>(y + c, r);
  }
}

/** y[p] = (x[p] - mean) / sqrt(variance + eps) * weight + bias. Strides in elements. */
export function layerNorm(
  y: usize,
  x: usize,
  weight: usize,
  bias: usize,
  n: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  eps: f32,
): void {
  for (let p = 0; p < positions; p++) {
    const mean = sumOf(x, n, 0, false) / <f64>n;
    const variance = sumOf(x, n, mean, true) / <f64>n;
    affine(y, x, weight, bias, n, mean, 1 / Math.sqrt(variance + <f64>eps));
    x += xStride << 2;
    y += yStride << 2;
  }
}

/** y[p] = x[p] / sqrt(mean of squares + eps) * weight. Strides in elements. */
export function rmsNorm(
  y: usize,
  x: usize,
  weight: usize,
  n: i32,
  positions: i32,
  xStride: usize,
  yStride: usize,
  eps: f32,
): void {
  for (let p = 0; p < positions; p++) {
    const square = sumOf(x, n, 0, true) / <f64>n;
    affine(y, x, weight, 0, n, 0, 1 / Math.sqrt(square + <f64>eps));
    x += xStride << 2;
    y += yStride << 2;
  }
}
