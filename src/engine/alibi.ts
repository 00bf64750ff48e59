/** ALiBi: the position-dependent bias that each head adds to the scores of keys. */

import type { Positions } from '../models/positions.ts';

export type AlibiForm = Omit<Extract<Positions, { kind: 'alibi' }>, 'kind'>;

/**
 * Slope of each head: a geometric sequence; where the number of heads is not a power of two, parts of two
 * such sequences.
 */
export function alibiSlopes(
  heads: number,
  { form, steepest = 8, slopes }: AlibiForm = {},
): number[] {
  const rounded = roundingOf(form);
  const sequence = (n: number) =>
    Array.from({ length: n }, (_, i) => rounded(2 ** ((-steepest * (i + 1)) / n)));
  const below = 2 ** Math.floor(Math.log2(heads));
  if (below === heads) return sequence(heads);
  const above = sequence(2 * below);
  const every = (first: number) => above.filter((_, i) => i % 2 === first);
  const all = slopes === 'above' ? [...every(1), ...every(0)] : [...sequence(below), ...every(0)];
  return all.slice(0, heads);
}

/** Fills `bias`, (heads, context). */
export function fillAlibi(
  bias: Float32Array,
  heads: number,
  context: number,
  alibi: AlibiForm = {},
): void {
  const rounded = roundingOf(alibi.form);
  for (const [head, slope] of alibiSlopes(heads, alibi).entries()) {
    for (let j = 0; j < context; j++) bias[head * context + j] = rounded(slope * rounded(j));
  }
}

function roundingOf(form: AlibiForm['form']): (value: number) => number {
  return form === 'plain' ? Math.fround : toBf16;
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
