/**
 * The packed form of f16 for DRAM: the same numbers, times 2^10 and in an order that four instructions turn
 * into eight f32. Each eight consecutive weights, and the rest at the end of a row, are reordered:
 *
 *     w0 w1 w2 w3 w4 w5 w6 w7   ->   w0 w4 w1 w5 w2 w6 w3 w7      w0 w1 ...   ->   w0 w1 ...
 *
 * The factor makes denormal numbers normal, and is exact as long as no weight is 64 or more. So the kernels
 * need not test for denormals; a test that fails for one block in 14 costs more than all arithmetic (at a
 * deviation of 0.02; the smaller the weights, the more often it fails). From the lower and the upper halves
 * of 32-bit words, one shift moves signs and exponents of four weights to their places in a binary32, and
 * a factor of the activations corrects the exponents' bias.
 */
import { F16_LOWER, F16_PLACED } from './constants';
import { ToF16 } from './convert';
import { Codec, F16 } from './dtype';
import { PACKED_F16_BLOCK_BYTES } from './exports/shared-constants';

/** Weights are multiplied with 2^10. */
const FACTOR: f32 = 1024;
/** The factor that turns a placed weight into its value: 2^(127 - 15 - 10). */
const UNPACK: f32 = 5.070602400912918e30;
/** That factor in two parts: for activations (2^84), and for sums (2^18). */
const RAISE: f32 = 1.9342813113834067e25;
const SETTLE: f32 = 262144;
/** 64 as binary16: the least value that would overflow with the factor. */
const TOO_LARGE: i32 = 0x5400;

@unmanaged
export class PackedF16 extends Codec {
  @inline override get bytes(): usize {
    return PACKED_F16_BLOCK_BYTES;
  }
  @inline override get unpackFrom(): i32 {
    return 4;
  }
  @inline override get packed(): bool {
    return true;
  }
  @inline override first(ptr: usize): v128 {
    return v128.load(ptr);
  }
  @inline override second(_ptr: usize, a: v128): v128 {
    return a;
  }
  @inline override low(a: v128, _b: v128): v128 {
    return f32x4.mul(PackedF16.placedLow(a, F16_LOWER, F16_PLACED), f32x4.splat(UNPACK));
  }
  @inline override high(a: v128, _b: v128): v128 {
    return f32x4.mul(PackedF16.placedHigh(a, F16_PLACED), f32x4.splat(UNPACK));
  }
  @inline override one(ptr: usize): f32 {
    return changetype<F16>(0).one(ptr) / FACTOR;
  }
  @inline override quick(_a0: v128, _a1: v128, _a2: v128, _a3: v128): bool {
    return false;
  }
  @inline override quickLow(a: v128, b: v128): v128 {
    return this.low(a, b);
  }
  @inline override quickHigh(a: v128, b: v128): v128 {
    return this.high(a, b);
  }

  /**
   * Weights 0 to 3 of eight, times 2^-102. Multiplying by 2^13 is a shift that also extends the sign.
   * The last arguments are F16_LOWER and F16_PLACED.
   */
  @inline static placedLow(a: v128, lower: v128, placed: v128): v128 {
    return v128.and(i32x4.dot_i16x8_s(a, lower), placed);
  }
  /** Weights 4 to 7. */
  @inline static placedHigh(a: v128, placed: v128): v128 {
    return v128.and(i32x4.shr_s(a, 3), placed);
  }
  /**
   * Activations for placed weights. Their products are 2^-18 of the true values: so activations below 2^44 do
   * not become infinite, and products from 2^-108 on do not become denormal.
   */
  @inline static raised(x: v128): v128 {
    return f32x4.mul(x, f32x4.splat(RAISE));
  }
  @inline static settled(sum: v128): v128 {
    return f32x4.mul(sum, f32x4.splat(SETTLE));
  }
}

/** Whether all of n f16 are below 64, so that they can be packed. */
export function packableF16(src: usize, n: i32): i32 {
  const magnitude = i16x8.splat(0x7fff);
  let most = i16x8.splat(0);
  let left = n;
  for (; left >= 8; left -= 8) {
    most = i16x8.max_u(most, v128.and(v128.load(src), magnitude));
    src += 16;
  }
  if (v128.any_true(i16x8.ge_u(most, i16x8.splat(<i16>TOO_LARGE)))) return 0;
  for (; left > 0; left--) {
    if ((load<u16>(src) & 0x7fff) >= TOO_LARGE) return 0;
    src += 2;
  }
  return 1;
}

/**
 * Packs f16 in place: the first `rows` rows of `cols` weights in each of `units` bundles, which are
 * `unitBytes` apart.
 */
export function packF16(w: usize, units: i32, unitBytes: usize, rows: i32, cols: i32): void {
  const rowBytes = (<usize>cols) << 1;
  for (let u = 0; u < units; u++) {
    for (let r = 0; r < rows; r++) packRow(w + <usize>r * rowBytes, cols);
    w += unitBytes;
  }
}

function packRow(w: usize, cols: i32): void {
  const narrow = changetype<ToF16>(0);
  const factor = f32x4.splat(FACTOR);
  let left = cols;
  for (; left >= 8; left -= 8) {
    const h = v128.load(w);
    let scaled: v128;
    if (F16.normal(h)) {
      scaled = i16x8.add(h, i16x8.splat(10 << 10));
    } else {
      const low = f32x4.mul(F16.widen(i32x4.extend_low_i16x8_s(h)), factor);
      const high = f32x4.mul(F16.widen(i32x4.extend_high_i16x8_s(h)), factor);
      scaled = i16x8.narrow_i32x4_s(narrow.of(low), narrow.of(high));
    }
    v128.store(w, i16x8.shuffle(scaled, scaled, 0, 4, 1, 5, 2, 6, 3, 7));
    w += 16;
  }
  for (; left > 0; left--) {
    const one = f32x4.mul(F16.widen(i32x4.splat(load<i16>(w))), factor);
    v128.store_lane<u16>(w, narrow.of(one), 0);
    w += 2;
  }
}
