/**
 * Dot products of one row with four positions, or of one key with four heads: like dot4 of dot.ts for
 * four rows and one position, and summed in the same order.
 */
import { Codec } from './dtype';
import { V } from './vector';

/** Lane i: dot(w, x_i). */
export function dot1x4<T extends Codec>(
  w: usize,
  x0: usize,
  x1: usize,
  x2: usize,
  x3: usize,
  cols: i32,
): v128 {
  const t = changetype<T>(0);
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  for (let left = cols >> 3; left > 0; left--) {
    const p = t.first(w);
    const q = t.second(w, p);
    const quick = t.quick(p, p, p, p);
    const low = quick ? t.quickLow(p, q) : t.low(p, q);
    const high = quick ? t.quickHigh(p, q) : t.high(p, q);
    a0 = V.madd(V.madd(a0, low, v128.load(x0)), high, v128.load(x0, 16));
    a1 = V.madd(V.madd(a1, low, v128.load(x1)), high, v128.load(x1, 16));
    a2 = V.madd(V.madd(a2, low, v128.load(x2)), high, v128.load(x2, 16));
    a3 = V.madd(V.madd(a3, low, v128.load(x3)), high, v128.load(x3, 16));
    w += 8 * t.bytes;
    x0 += 32;
    x1 += 32;
    x2 += 32;
    x3 += 32;
  }
  const sum = V.sums(a0, a1, a2, a3);
  const left = cols & 7;
  if (left == 0) return sum;
  let rest = f32x4.splat(0);
  for (let i = 0; i < left; i++) {
    let x = v128.load_splat<f32>(x0);
    x = v128.load_lane<f32>(x1, x, 1);
    x = v128.load_lane<f32>(x2, x, 2);
    x = v128.load_lane<f32>(x3, x, 3);
    rest = V.madd(rest, f32x4.splat(t.one(w)), x);
    w += t.bytes;
    x0 += 4;
    x1 += 4;
    x2 += 4;
    x3 += 4;
  }
  return f32x4.add(sum, rest);
}
