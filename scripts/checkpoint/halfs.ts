/** f16 by hand: Node 20 has no Float16Array. */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The f16 nearest to a finite value; what is too large becomes the largest one. */
export function toF16(value: number): number {
  float[0] = value;
  const word = bits[0] ?? 0;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  // Below the normal range, f16 are multiples of 2^-24.
  if (magnitude < 2 ** -14) return sign | Math.round(magnitude * 2 ** 24);
  // Half of what is cut off, less one where the result would stay even: rounds ties to even.
  const rounded = (word & 0x7fffffff) + 0xfff + ((word >>> 13) & 1);
  return sign | Math.min(0x7bff, (rounded >>> 13) - (112 << 10));
}

/** The value of a finite f16. */
export function fromF16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const mantissa = half & 1023;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}
