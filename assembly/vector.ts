/**
 * Operations on vectors of four f32 beyond single instructions. They are static methods because
 * TypeScript's own parser accepts `@inline` only on methods. A value's result depends neither on its lane
 * nor on its neighbours.
 */

/**
 * Below this (e^-64 is 1.6e-28), `exp` is 0: every use adds it to 1, where it is negligible, and neither
 * the results nor their products with ordinary values are denormal.
 */
const EXP_MIN: f32 = -64.0;
/** 1.5 2^23, and its bits. */
const ROUNDING: f32 = 12582912;
const ROUNDING_BITS: i32 = 0x4b400000;
/** Above this, `exp` stays at e^88 (about 1.65e38). */
const EXP_MAX: f32 = 88.0;

export abstract class V {
  /** Lane i of the result is the sum of the lanes of a_i. */
  @inline static sums(a0: v128, a1: v128, a2: v128, a3: v128): v128 {
    const s01 = f32x4.add(i32x4.shuffle(a0, a1, 0, 4, 1, 5), i32x4.shuffle(a0, a1, 2, 6, 3, 7));
    const s23 = f32x4.add(i32x4.shuffle(a2, a3, 0, 4, 1, 5), i32x4.shuffle(a2, a3, 2, 6, 3, 7));
    return f32x4.add(i32x4.shuffle(s01, s23, 0, 1, 4, 5), i32x4.shuffle(s01, s23, 2, 3, 6, 7));
  }

  /** Sum of all lanes. */
  @inline static sum(v: v128): f32 {
    const s = f32x4.add(v, i32x4.shuffle(v, v, 2, 3, 0, 1));
    return f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1);
  }

  /**
   * The nearest integers, ties to even, of magnitudes up to 2^22. After the addition, which rounds, the lower
   * bits hold the integer; a conversion would take longer.
   */
  @inline static integers(v: v128): v128 {
    return i32x4.sub(f32x4.add(v, f32x4.splat(ROUNDING)), i32x4.splat(ROUNDING_BITS));
  }

  /** acc + w x; rounded once in the build with relaxed SIMD if the processor supports that, else twice. */
  @inline static madd(acc: v128, w: v128, x: v128): v128 {
    if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(w, x, acc);
    return f32x4.add(acc, f32x4.mul(w, x));
  }

  /** The same for a scalar in lane 0: the result must not differ for columns that do not fill a vector. */
  @inline static madd1(acc: f32, w: f32, x: f32): f32 {
    if (!ASC_FEATURE_RELAXED_SIMD) return acc + w * x;
    return f32x4.extract_lane(V.madd(f32x4.splat(acc), f32x4.splat(w), f32x4.splat(x)), 0);
  }

  /** The first n of four f32, any n; 0 in the other lanes, whose memory is not read. */
  @inline static loadLanes(x: usize, n: i32): v128 {
    if (n >= 4) return v128.load(x);
    let v = f32x4.splat(0);
    if (n > 0) v = v128.load_lane<f32>(x, v, 0);
    if (n > 1) v = v128.load_lane<f32>(x, v, 1, 4);
    if (n > 2) v = v128.load_lane<f32>(x, v, 2, 8);
    return v;
  }

  /** Bit k: the k-th of four f32 is not 0 (NaN is not); of the first `left` if there are fewer. */
  @inline static notZero(x: usize, left: i32): i32 {
    if (left >= 4) return i32x4.bitmask(f32x4.ne(v128.load(x), f32x4.splat(0)));
    let mask = 0;
    for (let k = 0; k < left; k++) {
      mask |= i32(load<f32>(x + ((<usize>k) << 2)) != 0) << k;
    }
    return mask;
  }

  /** Stores the first n lanes, n from 1 to 4. */
  @inline static storeLanes(y: usize, v: v128, n: i32): void {
    if (n == 4) {
      v128.store(y, v);
    } else {
      v128.store_lane<f32>(y, v, 0);
      if (n > 1) v128.store_lane<f32>(y, v, 1, 4);
      if (n > 2) v128.store_lane<f32>(y, v, 2, 8);
    }
  }

  /**
   * e^x with a relative error below 1.2e-7 for x in [-64, 88]; 0 below, e^88 above. NaN stays NaN.
   * x = n ln2 + r with |r| <= ln2/2 (ln2 in two parts), e^r by the polynomial of Cephes' expf,
   * 2^n by adding n to the exponent.
   */
  @inline static exp(x: v128): v128 {
    const clamped = f32x4.pmin(f32x4.splat(EXP_MAX), x);
    const n = f32x4.nearest(f32x4.mul(clamped, f32x4.splat(1.44269504088896341)));
    let r = f32x4.sub(clamped, f32x4.mul(n, f32x4.splat(0.693359375)));
    r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(-2.1219444e-4)));
    let p = f32x4.splat(1.98756915e-4);
    p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3));
    p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
    p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
    p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
    p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
    p = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(r, r), p), r), f32x4.splat(1));
    const scaled = i32x4.add(p, i32x4.shl(i32x4.trunc_sat_f32x4_s(n), 23));
    const tiny = f32x4.lt(x, f32x4.splat(EXP_MIN));
    return v128.or(v128.andnot(scaled, tiny), f32x4.ne(x, x));
  }

  /**
   * erf(x) with an absolute error below 5e-7: x P(x^2) / Q(x^2), x clamped to [-4, 4]. The
   * coefficients are those of Eigen's single-precision erf.
   */
  @inline static erf(x: v128): v128 {
    const c = f32x4.max(f32x4.splat(-4), f32x4.min(f32x4.splat(4), x));
    const s = f32x4.mul(c, c);
    let p = f32x4.splat(-2.72614225801306e-10);
    p = f32x4.add(f32x4.mul(p, s), f32x4.splat(2.77068142495902e-8));
    p = f32x4.add(f32x4.mul(p, s), f32x4.splat(-2.10102402082508e-6));
    p = f32x4.add(f32x4.mul(p, s), f32x4.splat(-5.69250639462346e-5));
    p = f32x4.add(f32x4.mul(p, s), f32x4.splat(-7.34990630326855e-4));
    p = f32x4.add(f32x4.mul(p, s), f32x4.splat(-2.95459980854025e-3));
    p = f32x4.add(f32x4.mul(p, s), f32x4.splat(-1.60960333262415e-2));
    let q = f32x4.splat(-1.45660718464996e-5);
    q = f32x4.add(f32x4.mul(q, s), f32x4.splat(-2.13374055278905e-4));
    q = f32x4.add(f32x4.mul(q, s), f32x4.splat(-1.68282697438203e-3));
    q = f32x4.add(f32x4.mul(q, s), f32x4.splat(-7.37332916720468e-3));
    q = f32x4.add(f32x4.mul(q, s), f32x4.splat(-1.42647390514189e-2));
    return f32x4.div(f32x4.mul(c, p), q);
  }

  /**
   * tanh(x) with a relative error below 4e-7: near 0 the polynomial of Cephes' tanhf, else
   * (1 - e^-2|x|) / (1 + e^-2|x|) with the sign of x. NaN stays NaN.
   */
  @inline static tanh(x: v128): v128 {
    const size = f32x4.abs(x);
    const s = f32x4.mul(x, x);
    let p = f32x4.splat(-5.70498872745e-3);
    p = f32x4.add(f32x4.mul(p, s), f32x4.splat(2.06390887954e-2));
    p = f32x4.add(f32x4.mul(p, s), f32x4.splat(-5.37397155531e-2));
    p = f32x4.add(f32x4.mul(p, s), f32x4.splat(1.33314422036e-1));
    p = f32x4.add(f32x4.mul(p, s), f32x4.splat(-3.33332819422e-1));
    const near = f32x4.add(x, f32x4.mul(f32x4.mul(p, s), x));
    const e = V.exp(f32x4.mul(size, f32x4.splat(-2)));
    const one = f32x4.splat(1);
    const far = f32x4.div(f32x4.sub(one, e), f32x4.add(one, e));
    const signed = v128.or(far, v128.and(x, i32x4.splat(0x80000000)));
    return v128.bitselect(near, signed, f32x4.lt(size, f32x4.splat(0.625)));
  }
}
