/**
 * Quantises rows of weights to the block formats of GGUF files, as drawn in src/checkpoint/gguf/dequantise.ts.
 * Integers are chosen for the scales as stored. fit.ts describes the search for scales. Weights count
 * equally in formats with blocks of 32. In those with blocks of 256 they count with their magnitude
 * (Q4_K, Q5_K) or its square (Q6_K), since large errors of large weights matter most.
 */
import { ToF16 } from './convert';
import { F16 } from './dtype';
import {
  Q4_0_BLOCK_BYTES,
  Q4_1_BLOCK_BYTES,
  Q4_K_BLOCK_BYTES,
  Q5_0_BLOCK_BYTES,
  Q5_1_BLOCK_BYTES,
  Q5_K_BLOCK_BYTES,
  Q6_K_BLOCK_BYTES,
  Q8_0_BLOCK_BYTES,
} from './exports/shared-constants';
import { affine, EQUAL, Fit, MAGNITUDE, SQUARE, symmetric } from './fit';

/** Quantises the weights at x to the block at dst. */
@unmanaged
export abstract class BlockMaker {
  abstract get bytes(): usize;
  abstract get elements(): i32;
  abstract make(dst: usize, x: usize): void;
}

/** Quantises the row of n f32 at src to blocks at dst; n is a multiple of the block size. */
export function rowsFromF32<M extends BlockMaker>(dst: usize, src: usize, n: i32): void {
  const m = changetype<M>(0);
  for (; n > 0; n -= m.elements) {
    m.make(dst, src);
    dst += m.bytes;
    src += (<usize>m.elements) << 2;
  }
}

/** Parts of makers. */
abstract class M {
  /** Stores a number as f16, and returns the value of that f16. */
  @inline static half(ptr: usize, value: f32): f32 {
    const bits = changetype<ToF16>(0).of(f32x4.splat(value));
    store<u16>(ptr, <u16>i32x4.extract_lane(bits, 0));
    return changetype<F16>(0).one(ptr);
  }
  @inline static inverse(scale: f32): f32 {
    return scale == 0 ? 0 : 1 / scale;
  }
  /** Four integers nearest to (x - least) / scale. */
  @inline static four(x: usize, inverse: v128, least: v128): v128 {
    const q = f32x4.nearest(f32x4.mul(f32x4.sub(v128.load(x), least), inverse));
    return i32x4.trunc_sat_f32x4_s(q);
  }
  /** 16 such integers plus `offset`, from 0 to `top`, u8. */
  @inline static sixteen(x: usize, scale: f32, least: f32, offset: i32, top: i32): v128 {
    const inverse = f32x4.splat(M.inverse(scale));
    const m = f32x4.splat(least);
    const a = i16x8.narrow_i32x4_s(M.four(x, inverse, m), M.four(x + 16, inverse, m));
    const b = i16x8.narrow_i32x4_s(M.four(x + 32, inverse, m), M.four(x + 48, inverse, m));
    const o = i16x8.splat(<i16>offset);
    const q = i8x16.narrow_i16x8_u(i16x8.add_sat_s(a, o), i16x8.add_sat_s(b, o));
    return i8x16.min_u(q, i8x16.splat(<i8>top));
  }
  /** Lower halves of bytes from `low`, upper ones from `high`, of which no more than four bits count. */
  @inline static nibbles(low: v128, high: v128): v128 {
    const mask = i8x16.splat(15);
    return v128.or(v128.and(low, mask), i16x8.shl(v128.and(high, mask), 4));
  }
  /** Bit i: the fifth bit of byte i. */
  @inline static fifths(q: v128): i32 {
    return i8x16.bitmask(i8x16.shl(q, 3));
  }
}

@unmanaged
export class MakeQ8_0 extends BlockMaker {
  @inline override get bytes(): usize {
    return Q8_0_BLOCK_BYTES;
  }
  @inline override get elements(): i32 {
    return 32;
  }
  @inline override make(dst: usize, x: usize): void {
    const top = max(-Fit.least(x, 128), Fit.most(x, 128));
    const scale = M.half(dst, top / 127);
    // u8 with an offset of 128, then i8 again; -128 only occurs when the scale is rounded to f16.
    const bias = i8x16.splat(-128);
    for (let c: usize = 0; c < 32; c += 16) {
      const q = M.sixteen(x + (c << 2), scale, 0, 128, 255);
      v128.store(dst + c, v128.xor(q, bias), 2);
    }
  }
}

@unmanaged
export class MakeQ4_0 extends BlockMaker {
  @inline override get bytes(): usize {
    return Q4_0_BLOCK_BYTES;
  }
  @inline override get elements(): i32 {
    return 32;
  }
  @inline override make(dst: usize, x: usize): void {
    const scale = M.half(dst, symmetric(x, 32, 8, EQUAL));
    const q0 = M.sixteen(x, scale, 0, 8, 15);
    const q1 = M.sixteen(x + 64, scale, 0, 8, 15);
    v128.store(dst, M.nibbles(q0, q1), 2);
  }
}

@unmanaged
export class MakeQ5_0 extends BlockMaker {
  @inline override get bytes(): usize {
    return Q5_0_BLOCK_BYTES;
  }
  @inline override get elements(): i32 {
    return 32;
  }
  @inline override make(dst: usize, x: usize): void {
    const scale = M.half(dst, symmetric(x, 32, 16, EQUAL));
    const q0 = M.sixteen(x, scale, 0, 16, 31);
    const q1 = M.sixteen(x + 64, scale, 0, 16, 31);
    store<u32>(dst, M.fifths(q0) | (M.fifths(q1) << 16), 2);
    v128.store(dst, M.nibbles(q0, q1), 6);
  }
}

@unmanaged
export class MakeQ4_1 extends BlockMaker {
  @inline override get bytes(): usize {
    return Q4_1_BLOCK_BYTES;
  }
  @inline override get elements(): i32 {
    return 32;
  }
  @inline override make(dst: usize, x: usize): void {
    const scale = M.half(dst, affine(x, 32, 15, -1, 21, true, EQUAL));
    const least = M.half(dst + 2, Fit.leastFound);
    const q0 = M.sixteen(x, scale, least, 0, 15);
    const q1 = M.sixteen(x + 64, scale, least, 0, 15);
    v128.store(dst, M.nibbles(q0, q1), 4);
  }
}

@unmanaged
export class MakeQ5_1 extends BlockMaker {
  @inline override get bytes(): usize {
    return Q5_1_BLOCK_BYTES;
  }
  @inline override get elements(): i32 {
    return 32;
  }
  @inline override make(dst: usize, x: usize): void {
    const scale = M.half(dst, affine(x, 32, 31, -0.5, 16, true, EQUAL));
    const least = M.half(dst + 2, Fit.leastFound);
    const q0 = M.sixteen(x, scale, least, 0, 31);
    const q1 = M.sixteen(x + 64, scale, least, 0, 31);
    store<u32>(dst, M.fifths(q0) | (M.fifths(q1) << 16), 4);
    v128.store(dst, M.nibbles(q0, q1), 8);
  }
}

/** Scales and least values of eight runs of 32, each 6 bits of an f16. */
abstract class SixBits {
  /**
   * Chooses them for the weights at x and stores them: d, m, and 12 bytes. The unquantised values are kept
   * at `found`, 64 bytes that are overwritten later.
   */
  @inline static make(dst: usize, found: usize, x: usize, top: i32, first: f32, tries: i32): void {
    let largest: f32 = 0;
    let deepest: f32 = 0;
    for (let run: usize = 0; run < 8; run++) {
      const scale = affine(x + (run << 7), 32, top, first, tries, false, MAGNITUDE);
      const depth = -Fit.leastFound;
      store<f32>(found + (run << 2), scale);
      store<f32>(found + (run << 2), depth, 32);
      largest = max(largest, scale);
      deepest = max(deepest, depth);
    }
    const perScale = M.inverse(M.half(dst, largest / 63));
    const perLeast = M.inverse(M.half(dst + 2, deepest / 63));
    for (let run: usize = 0; run < 4; run++) {
      const low = found + (run << 2);
      const scale = SixBits.of(load<f32>(low) * perScale);
      const least = SixBits.of(load<f32>(low, 32) * perLeast);
      const scale4 = SixBits.of(load<f32>(low, 16) * perScale);
      const least4 = SixBits.of(load<f32>(low, 48) * perLeast);
      const to = dst + 4 + run;
      store<u8>(to, <u8>(scale | ((scale4 >> 4) << 6)));
      store<u8>(to, <u8>(least | ((least4 >> 4) << 6)), 4);
      store<u8>(to, <u8>((scale4 & 15) | ((least4 & 15) << 4)), 8);
    }
  }
  @inline static of(value: f32): i32 {
    return min(63, <i32>nearest<f32>(value));
  }
  /** The scale of a run, 6 bits, of the block at w. */
  @inline static scale(w: usize, run: usize): i32 {
    const low = <i32>load<u8>(w + (run & 3), 4);
    if (run < 4) return low & 63;
    return (<i32>load<u8>(w + (run & 3), 12) & 15) | ((low >> 6) << 4);
  }
  @inline static least(w: usize, run: usize): i32 {
    const low = <i32>load<u8>(w + (run & 3), 8);
    if (run < 4) return low & 63;
    return (<i32>load<u8>(w + (run & 3), 12) >> 4) | ((low >> 6) << 4);
  }
  /** 16 integers of a run at x, for the stored scales and least values. */
  @inline static sixteen(w: usize, run: usize, x: usize, top: i32): v128 {
    const f16 = changetype<F16>(0);
    const scale = f16.one(w) * <f32>SixBits.scale(w, run);
    const least = -f16.one(w + 2) * <f32>SixBits.least(w, run);
    return M.sixteen(x, scale, least, 0, top);
  }
}

@unmanaged
export class MakeQ4_K extends BlockMaker {
  @inline override get bytes(): usize {
    return Q4_K_BLOCK_BYTES;
  }
  @inline override get elements(): i32 {
    return 256;
  }
  @inline override make(dst: usize, x: usize): void {
    SixBits.make(dst, dst + 16, x, 15, -1, 21);
    for (let pair: usize = 0; pair < 4; pair++) {
      for (let half: usize = 0; half < 2; half++) {
        const at = x + (pair << 8) + (half << 6);
        const low = SixBits.sixteen(dst, 2 * pair, at, 15);
        const high = SixBits.sixteen(dst, 2 * pair + 1, at + 128, 15);
        v128.store(dst + (pair << 5) + (half << 4), M.nibbles(low, high), 16);
      }
    }
  }
}

@unmanaged
export class MakeQ5_K extends BlockMaker {
  @inline override get bytes(): usize {
    return Q5_K_BLOCK_BYTES;
  }
  @inline override get elements(): i32 {
    return 256;
  }
  @inline override make(dst: usize, x: usize): void {
    SixBits.make(dst, dst + 48, x, 31, -0.5, 16);
    const one = i8x16.splat(1);
    for (let half: usize = 0; half < 2; half++) {
      let fifths = i8x16.splat(0);
      for (let pair: usize = 0; pair < 4; pair++) {
        const at = x + (pair << 8) + (half << 6);
        const low = SixBits.sixteen(dst, 2 * pair, at, 31);
        const high = SixBits.sixteen(dst, 2 * pair + 1, at + 128, 31);
        const both = v128.or(
          v128.and(i8x16.shr_u(low, 4), one),
          i8x16.shl(v128.and(i8x16.shr_u(high, 4), one), 1),
        );
        fifths = v128.or(fifths, i8x16.shl(both, (<i32>pair) << 1));
        v128.store(dst + (pair << 5) + (half << 4), M.nibbles(low, high), 48);
      }
      v128.store(dst + (half << 4), fifths, 16);
    }
  }
}

@unmanaged
export class MakeQ6_K extends BlockMaker {
  @inline override get bytes(): usize {
    return Q6_K_BLOCK_BYTES;
  }
  @inline override get elements(): i32 {
    return 256;
  }
  @inline override make(dst: usize, x: usize): void {
    // The unquantised values are kept in the place of the integers.
    let largest: f32 = 0;
    for (let run: usize = 0; run < 16; run++) {
      const scale = symmetric(x + (run << 6), 16, 32, SQUARE);
      store<f32>(dst + (run << 2), scale);
      if (abs(scale) > abs(largest)) largest = scale;
    }
    const d = M.half(dst + 208, largest / -128);
    const per = M.inverse(d);
    for (let run: usize = 0; run < 16; run++) {
      const scale = nearest<f32>(load<f32>(dst + (run << 2)) * per);
      store<i8>(dst + run, <i8>max<f32>(-128, min<f32>(127, scale)), 192);
    }
    for (let part: usize = 0; part < 4; part++) {
      // Two groups of 32 weights in lower halves of bytes, two in upper ones, for each half of the block.
      const h = part >> 1;
      const within = part & 1;
      let twos = i8x16.splat(0);
      for (let g: usize = 0; g < 2; g++) {
        const run = (h << 3) + (g << 1) + within;
        const low = MakeQ6_K.sixteen(dst, run, x, d);
        const high = MakeQ6_K.sixteen(dst, run + 4, x, d);
        v128.store(dst + (h << 6) + (g << 5) + (within << 4), M.nibbles(low, high));
        const upper = v128.or(i8x16.shr_u(low, 4), i8x16.shl(i8x16.shr_u(high, 4), 4));
        twos = v128.or(twos, i8x16.shl(upper, (<i32>g) << 1));
      }
      v128.store(dst + (h << 5) + (within << 4), twos, 128);
    }
  }
  @inline static sixteen(w: usize, run: usize, x: usize, d: f32): v128 {
    const scale = d * <f32>load<i8>(w + run, 192);
    return M.sixteen(x + (run << 6), scale, 0, 32, 63);
  }
}
