/** ALiBi: what each head adds to the scores of keys by their positions. */

/** Slope of each head: a geometric sequence; where heads are no power of two, of twice as many every other. */
export function alibiSlopes(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads));
  const sequence = (n: number) => (i: number) => toBf16(2 ** ((-8 * i) / n));
  const first = Array.from({ length: power }, (_, i) => sequence(power)(i + 1));
  const others = Array.from({ length: heads - power }, (_, i) => sequence(2 * power)(2 * i + 1));
  return [...first, ...others];
}

/** Fills `bias`, (heads, context). */
export function fillAlibi(bias: Float32Array, heads: number, context: number): void {
  for (const [head, slope] of alibiSlopes(heads).entries()) {
    for (let j = 0; j < context; j++) bias[head * context + j] = toBf16(slope * toBf16(j));
  }
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The nearest bf16, ties to even, of a finite number. */
function toBf16(value: number): number {
  float[0] = value;
  const word = bits[0] ?? 0;
  bits[0] = ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) << 16;
  return float[0] ?? 0;
}
