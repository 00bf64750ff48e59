/**
 * Adds down columns to the outputs of a few positions: four columns are converted to f32 in registers once
 * for all positions, and are never stored.
 */
import { Codec } from './dtype';
import { V } from './vector';

/**
 * y_p[0..columns) += a_p,0 d0 + a_p,1 d1 + a_p,2 d2 + a_p,3 d3, added in this order, with the four a_p at
 * acts. The order of `accumulate` in columns.ts, so the same to the bit.
 */
export function accumulateFew<T extends Codec>(
  y: usize,
  yBytes: usize,
  acts: usize,
  actBytes: usize,
  positions: i32,
  d0: usize,
  d1: usize,
  d2: usize,
  d3: usize,
  columns: i32,
): void {
  const t = changetype<T>(0);
  for (let left = columns >> 3; left > 0; left--) {
    const p0 = t.first(d0);
    const p1 = t.first(d1);
    const p2 = t.first(d2);
    const p3 = t.first(d3);
    const q0 = t.second(d0, p0);
    const q1 = t.second(d1, p1);
    const q2 = t.second(d2, p2);
    const q3 = t.second(d3, p3);
    let l0: v128;
    let l1: v128;
    let l2: v128;
    let l3: v128;
    let h0: v128;
    let h1: v128;
    let h2: v128;
    let h3: v128;
    if (t.quick(p0, p1, p2, p3)) {
      l0 = t.quickLow(p0, q0);
      l1 = t.quickLow(p1, q1);
      l2 = t.quickLow(p2, q2);
      l3 = t.quickLow(p3, q3);
      h0 = t.quickHigh(p0, q0);
      h1 = t.quickHigh(p1, q1);
      h2 = t.quickHigh(p2, q2);
      h3 = t.quickHigh(p3, q3);
    } else {
      l0 = t.low(p0, q0);
      l1 = t.low(p1, q1);
      l2 = t.low(p2, q2);
      l3 = t.low(p3, q3);
      h0 = t.high(p0, q0);
      h1 = t.high(p1, q1);
      h2 = t.high(p2, q2);
      h3 = t.high(p3, q3);
    }
    let yp = y;
    let ap = acts;
    for (let p = positions; p > 0; p--) {
      const s0 = v128.load_splat<f32>(ap);
      let low = V.madd(v128.load(yp), s0, l0);
      let high = V.madd(v128.load(yp, 16), s0, h0);
      const s1 = v128.load_splat<f32>(ap, 4);
      low = V.madd(low, s1, l1);
      high = V.madd(high, s1, h1);
      const s2 = v128.load_splat<f32>(ap, 8);
      low = V.madd(low, s2, l2);
      high = V.madd(high, s2, h2);
      const s3 = v128.load_splat<f32>(ap, 12);
      low = V.madd(low, s3, l3);
      high = V.madd(high, s3, h3);
      v128.store(yp, low);
      v128.store(yp, high, 16);
      yp += yBytes;
      ap += actBytes;
    }
    d0 += 8 * t.bytes;
    d1 += 8 * t.bytes;
    d2 += 8 * t.bytes;
    d3 += 8 * t.bytes;
    y += 32;
  }
  for (let left = columns & 7; left > 0; left--) {
    const w0 = t.one(d0);
    const w1 = t.one(d1);
    const w2 = t.one(d2);
    const w3 = t.one(d3);
    let yp = y;
    let ap = acts;
    for (let p = positions; p > 0; p--) {
      let sum = V.madd1(load<f32>(yp), load<f32>(ap), w0);
      sum = V.madd1(sum, load<f32>(ap, 4), w1);
      sum = V.madd1(sum, load<f32>(ap, 8), w2);
      store<f32>(yp, V.madd1(sum, load<f32>(ap, 12), w3));
      yp += yBytes;
      ap += actBytes;
    }
    d0 += t.bytes;
    d1 += t.bytes;
    d2 += t.bytes;
    d3 += t.bytes;
    y += 4;
  }
}
