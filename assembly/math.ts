/** Activation functions and the arithmetic of whole f32 vectors, in place. */
import {
  ACTIVATION_FATRELU,
  ACTIVATION_GELU,
  ACTIVATION_GELU_TANH,
  ACTIVATION_RELU,
  ACTIVATION_RELU2,
  ACTIVATION_SILU,
  ACTIVATIONS_WITH_ZEROS,
} from './exports/shared-constants';
import { V } from './vector';

/** Whether most values of the activation function of this code are exactly 0. */
export function hasZeros(code: i32): bool {
  return ((ACTIVATIONS_WITH_ZEROS >>> code) & 1) != 0;
}

/** A function of one value, applied to four; never instantiated, like the codecs of dtype.ts. */
@unmanaged
abstract class Elementwise {
  @inline of(x: v128): v128 {
    return x;
  }
}

@unmanaged
class Relu extends Elementwise {
  @inline override of(x: v128): v128 {
    return f32x4.max(x, f32x4.splat(0));
  }
}

@unmanaged
class Relu2 extends Elementwise {
  @inline override of(x: v128): v128 {
    const r = f32x4.max(x, f32x4.splat(0));
    return f32x4.mul(r, r);
  }
}

@unmanaged
class Gelu extends Elementwise {
  @inline override of(x: v128): v128 {
    const half = f32x4.mul(x, f32x4.splat(0.5));
    const erf = V.erf(f32x4.mul(x, f32x4.splat(0.70710678118654752)));
    return f32x4.mul(half, f32x4.add(erf, f32x4.splat(1)));
  }
}

/** (1 + tanh u) / 2 = 1 / (1 + e^-2u), which loses no precision for negative u. */
@unmanaged
class GeluTanh extends Elementwise {
  @inline override of(x: v128): v128 {
    const cubic = f32x4.mul(f32x4.mul(f32x4.mul(x, x), x), f32x4.splat(0.044715));
    const minus2u = f32x4.mul(f32x4.add(x, cubic), f32x4.splat(-1.5957691216057308));
    return f32x4.div(x, f32x4.add(f32x4.splat(1), V.exp(minus2u)));
  }
}

@unmanaged
class Silu extends Elementwise {
  @inline override of(x: v128): v128 {
    return f32x4.div(x, f32x4.add(f32x4.splat(1), V.exp(f32x4.neg(x))));
  }
}

/** x[0..n) = f(x[0..n)). */
function map<F extends Elementwise>(x: usize, n: i32): void {
  const f = changetype<F>(0);
  for (; n >= 4; n -= 4, x += 16) v128.store(x, f.of(v128.load(x)));
  for (; n > 0; n--, x += 4) v128.store_lane<f32>(x, f.of(v128.load_splat<f32>(x)), 0);
}

/** x[0..n) = x where it is above the threshold, else 0; NaN stays NaN. */
function fatrelu(x: usize, n: i32, threshold: f32): void {
  const t = f32x4.splat(threshold);
  for (; n >= 4; n -= 4, x += 16) {
    const v = v128.load(x);
    v128.store(x, v128.andnot(v, f32x4.le(v, t)));
  }
  for (; n > 0; n--, x += 4) if (load<f32>(x) <= threshold) store<f32>(x, 0);
}

/** x[0..n) = f(x[0..n)), f given by its code; the threshold is that of FATRELU. */
export function activation(x: usize, n: i32, code: i32, threshold: f32): void {
  if (code == ACTIVATION_RELU) map<Relu>(x, n);
  else if (code == ACTIVATION_GELU) map<Gelu>(x, n);
  else if (code == ACTIVATION_GELU_TANH) map<GeluTanh>(x, n);
  else if (code == ACTIVATION_SILU) map<Silu>(x, n);
  else if (code == ACTIVATION_RELU2) map<Relu2>(x, n);
  else if (code == ACTIVATION_FATRELU) fatrelu(x, n, threshold);
}

/** y[0..n) += x[0..n). */
export function add(y: usize, x: usize, n: i32): void {
  for (; n >= 4; n -= 4, y += 16, x += 16) {
    v128.store(y, f32x4.add(v128.load(y), v128.load(x)));
  }
  for (; n > 0; n--, y += 4, x += 4) store<f32>(y, load<f32>(y) + load<f32>(x));
}

/** y[0..n) += each of `rows` rows of n values, `stride` elements apart, one after the other. */
export function fold(y: usize, x: usize, rows: i32, n: i32, stride: usize): void {
  for (let r = 0; r < rows; r++) add(y, x + ((<usize>r * stride) << 2), n);
}

/** How many of x[0..n) are not 0. */
export function countActive(x: usize, n: i32): i32 {
  let zeros = i32x4.splat(0);
  let left = n;
  for (; left >= 4; left -= 4, x += 16) {
    zeros = i32x4.sub(zeros, f32x4.eq(v128.load(x), f32x4.splat(0)));
  }
  let active = n - left;
  active -= i32x4.extract_lane(zeros, 0) + i32x4.extract_lane(zeros, 1);
  active -= i32x4.extract_lane(zeros, 2) + i32x4.extract_lane(zeros, 3);
  for (; left > 0; left--, x += 4) active += i32(load<f32>(x) != 0);
  return active;
}

/** y[0..n) *= x[0..n). */
export function multiply(y: usize, x: usize, n: i32): void {
  for (; n >= 4; n -= 4, y += 16, x += 16) {
    v128.store(y, f32x4.mul(v128.load(y), v128.load(x)));
  }
  for (; n > 0; n--, y += 4, x += 4) store<f32>(y, load<f32>(y) * load<f32>(x));
}

/** y[0..n) *= x[0..n), and 0 where x is 0, even if y is infinite or NaN there. */
export function multiplyNonZero(y: usize, x: usize, n: i32): void {
  for (; n >= 4; n -= 4, y += 16, x += 16) {
    const factor = v128.load(x);
    const zero = f32x4.eq(factor, f32x4.splat(0));
    v128.store(y, v128.andnot(f32x4.mul(v128.load(y), factor), zero));
  }
  for (; n > 0; n--, y += 4, x += 4) {
    const factor = load<f32>(x);
    store<f32>(y, factor == 0 ? 0 : load<f32>(y) * factor);
  }
}

class ClampedGate {
  /** (clamp(y) + 1) g / (1 + e^(-steepness g)) with g = min(x, limit), four at a time. */
  @inline
  static of(y: v128, x: v128, limit: f32, steepness: f32): v128 {
    const top = f32x4.splat(limit);
    const one = f32x4.splat(1);
    const up = f32x4.max(f32x4.splat(-limit), f32x4.min(top, y));
    const gate = f32x4.min(top, x);
    const share = f32x4.add(one, V.exp(f32x4.mul(gate, f32x4.splat(-steepness))));
    return f32x4.mul(f32x4.add(up, one), f32x4.div(gate, share));
  }
}

/**
 * y[0..n) = (y + 1) g sigmoid(steepness g), where y is held within [-limit, limit], and g is x, at most
 * limit: a gate of gpt-oss.
 */
export function clampedGate(y: usize, x: usize, n: i32, limit: f32, steepness: f32): void {
  for (; n >= 4; n -= 4, y += 16, x += 16) {
    v128.store(y, ClampedGate.of(v128.load(y), v128.load(x), limit, steepness));
  }
  for (; n > 0; n--, y += 4, x += 4) {
    const gated = ClampedGate.of(
      v128.load_splat<f32>(y),
      v128.load_splat<f32>(x),
      limit,
      steepness,
    );
    v128.store_lane<f32>(y, gated, 0);
  }
}

/** x[0..n) within [-limit, limit]; NaN stays NaN. */
export function clamp(x: usize, n: i32, limit: f32): void {
  const top = f32x4.splat(limit);
  const bottom = f32x4.splat(-limit);
  for (; n >= 4; n -= 4, x += 16) {
    v128.store(x, f32x4.max(bottom, f32x4.min(top, v128.load(x))));
  }
  for (; n > 0; n--, x += 4) store<f32>(x, max<f32>(-limit, min<f32>(limit, load<f32>(x))));
}

/** x[0..n) *= factor. */
export function scale(x: usize, n: i32, factor: f32): void {
  const f = f32x4.splat(factor);
  for (; n >= 4; n -= 4, x += 16) v128.store(x, f32x4.mul(v128.load(x), f));
  for (; n > 0; n--, x += 4) store<f32>(x, load<f32>(x) * factor);
}

/** x[0..n) = cap tanh(x[0..n) / cap); -Infinity, which marks values that are not computed, stays. */
export function softCap(x: usize, n: i32, cap: f32): void {
  const c = f32x4.splat(cap);
  const inverse = f32x4.splat(1 / cap);
  for (; n > 0; n -= 4, x += 16) {
    const v = V.loadLanes(x, n);
    const capped = f32x4.mul(V.tanh(f32x4.mul(v, inverse)), c);
    const absent = f32x4.eq(v, f32x4.splat(-Infinity));
    V.storeLanes(x, v128.bitselect(v, capped, absent), min(n, 4));
  }
}
