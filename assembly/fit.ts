/**
 * The search for the scales with which a run of weights is quantised to integers of few bits, shared by the
 * formats of make-gguf.ts.
 *
 * The search tries scales for which the largest weight becomes a little more, or less, than the largest
 * integer. For each scale, weights are rounded to integers q. The best scale (and least value) for these q
 * is that of weighted least squares, and its error follows from the same sums:
 *
 *     x = s q          s = Sxq / Sqq                                error = Sxx - s Sxq
 *     x = s q + m      s = (Sw Sxq - Sx Sq) / D                     error = Sxx - s Sxq - m Sx
 *                      m = (Sqq Sx - Sq Sxq) / D                    D = Sw Sqq - Sq Sq
 *
 * So the search compares the explained part, and never sums up an error. Sums do not use fused
 * multiplication, so that both builds of the core give the same integers.
 */
import { V } from './vector';

/** Runs whose weights are all smaller become 0: no f16 scale could represent them. */
const X_MIN: f32 = 5.8207661e-11;

/** How much each weight counts: all the same, with its magnitude, or with its square. */
export const EQUAL: i32 = 0;
export const MAGNITUDE: i32 = 1;
export const SQUARE: i32 = 2;

/** The least value that belongs to the scale which `affine` has found. */
let foundLeast: f32 = 0;

export abstract class Fit {
  /** The importance of four weights. */
  @inline static weight(kind: i32, x: v128, mean: v128): v128 {
    if (kind == EQUAL) return f32x4.splat(1);
    return kind == SQUARE ? f32x4.mul(x, x) : f32x4.add(mean, f32x4.abs(x));
  }
  /** Root of the mean square. */
  @inline static rms(x: usize, bytes: usize): f32 {
    let squares = f32x4.splat(0);
    for (let c: usize = 0; c < bytes; c += 16) {
      const v = v128.load(x + c);
      squares = f32x4.add(squares, f32x4.mul(v, v));
    }
    return sqrt<f32>(V.sum(squares) / <f32>(bytes >> 2));
  }
  @inline static least(x: usize, bytes: usize): f32 {
    let low = v128.load(x);
    for (let c: usize = 16; c < bytes; c += 16) low = f32x4.pmin(low, v128.load(x + c));
    low = f32x4.pmin(low, i32x4.shuffle(low, low, 2, 3, 0, 1));
    return min(f32x4.extract_lane(low, 0), f32x4.extract_lane(low, 1));
  }
  @inline static most(x: usize, bytes: usize): f32 {
    let high = v128.load(x);
    for (let c: usize = 16; c < bytes; c += 16) high = f32x4.pmax(high, v128.load(x + c));
    high = f32x4.pmax(high, i32x4.shuffle(high, high, 2, 3, 0, 1));
    return max(f32x4.extract_lane(high, 0), f32x4.extract_lane(high, 1));
  }
  /** The least value of the last `affine`. */
  @inline static get leastFound(): f32 {
    return foundLeast;
  }
}

/**
 * The scale of n weights at x as integers from -top to top - 1, which is negative if the weight of
 * largest magnitude is positive, as there is one more integer below 0.
 */
export function symmetric(x: usize, n: i32, top: i32, kind: i32): f32 {
  const bytes = (<usize>n) << 2;
  const low = Fit.least(x, bytes);
  const high = Fit.most(x, bytes);
  const largest = -low > high ? low : high;
  if (abs(largest) < X_MIN) return 0;
  const mean = f32x4.splat(0);
  const bottom = f32x4.splat(<f32>-top);
  const ceiling = f32x4.splat(<f32>(top - 1));
  let best: f32 = 0;
  let explained: f32 = 0;
  for (let k = -9; k <= 9; k++) {
    const inverse = f32x4.splat(-(<f32>top + <f32>0.1 * <f32>k) / largest);
    let sxq4 = f32x4.splat(0);
    let sqq4 = f32x4.splat(0);
    for (let c: usize = 0; c < bytes; c += 16) {
      const v = v128.load(x + c);
      const rounded = f32x4.nearest(f32x4.mul(v, inverse));
      const q = f32x4.pmin(ceiling, f32x4.pmax(bottom, rounded));
      const wq = f32x4.mul(q, Fit.weight(kind, v, mean));
      sxq4 = f32x4.add(sxq4, f32x4.mul(wq, v));
      sqq4 = f32x4.add(sqq4, f32x4.mul(wq, q));
    }
    const sxq = V.sum(sxq4);
    const sqq = V.sum(sqq4);
    if (sqq > 0 && sxq * sxq > explained * sqq) {
      best = sxq / sqq;
      explained = best * sxq;
    }
  }
  return best;
}

/**
 * The scale of n weights at x as integers from 0 to top, above a least value that is not positive
 * unless it is `free` to be. Tried are scales from (top + first) integers on.
 */
export function affine(
  x: usize,
  n: i32,
  top: i32,
  first: f32,
  tries: i32,
  free: bool,
  kind: i32,
): f32 {
  const bytes = (<usize>n) << 2;
  const high = Fit.most(x, bytes);
  let low = Fit.least(x, bytes);
  if (!free && low > 0) low = 0;
  foundLeast = low;
  if (high - low < X_MIN) return 0;
  const mean = f32x4.splat(kind == MAGNITUDE ? Fit.rms(x, bytes) : 0);
  let sw4 = f32x4.splat(0);
  let sx4 = f32x4.splat(0);
  for (let c: usize = 0; c < bytes; c += 16) {
    const v = v128.load(x + c);
    const w = Fit.weight(kind, v, mean);
    sw4 = f32x4.add(sw4, w);
    sx4 = f32x4.add(sx4, f32x4.mul(w, v));
  }
  const sw = V.sum(sw4);
  const sx = V.sum(sx4);
  const bottom = f32x4.splat(low);
  const zero = f32x4.splat(0);
  const ceiling = f32x4.splat(<f32>top);
  let best: f32 = (high - low) / <f32>top;
  let explained: f32 = -Infinity as f32;
  for (let k = 0; k < tries; k++) {
    const inverse = f32x4.splat((<f32>top + first + <f32>0.1 * <f32>k) / (high - low));
    let sq4 = zero;
    let sxq4 = zero;
    let sqq4 = zero;
    for (let c: usize = 0; c < bytes; c += 16) {
      const v = v128.load(x + c);
      const rounded = f32x4.nearest(f32x4.mul(f32x4.sub(v, bottom), inverse));
      const q = f32x4.pmin(ceiling, f32x4.pmax(zero, rounded));
      const wq = f32x4.mul(q, Fit.weight(kind, v, mean));
      sq4 = f32x4.add(sq4, wq);
      sxq4 = f32x4.add(sxq4, f32x4.mul(wq, v));
      sqq4 = f32x4.add(sqq4, f32x4.mul(wq, q));
    }
    const sq = V.sum(sq4);
    const sxq = V.sum(sxq4);
    const sqq = V.sum(sqq4);
    const d = sw * sqq - sq * sq;
    if (!(d > 0)) continue;
    let scale = (sw * sxq - sx * sq) / d;
    let least = (sqq * sx - sq * sxq) / d;
    if (!free && least > 0) {
      least = 0;
      scale = sxq / sqq;
    }
    const now = scale * sxq + least * sx;
    if (scale > 0 && now > explained) {
      explained = now;
      best = scale;
      foundLeast = least;
    }
  }
  return best;
}
