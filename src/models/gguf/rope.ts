/** Translates rotary scaling from GGUF to the fields of a config.json. */

import { InputError } from '../../errors.ts';
import { type GgufKeys, shortest } from './keys.ts';
import type { GgufFacts } from './translation.ts';

/** How far a recomputed factor may be from the one in the file. */
const tolerance = 1e-4;

type RopeScaling = Readonly<Record<string, unknown>>;

/** The fields `rope_theta` and `rope_scaling`. */
export function ropeConfig(
  keys: GgufKeys,
  facts: GgufFacts,
  rotaryDim: number,
): { readonly rope_theta: number; readonly rope_scaling: RopeScaling | null } {
  const theta = shortest(keys.optionalNumber('rope.freq_base') ?? 10_000);
  const { ropeFactors, lengthFactors = null } = facts;
  if (lengthFactors !== null) {
    return { rope_theta: theta, rope_scaling: scalingByLength(lengthFactors, keys) };
  }
  const byKeys = scalingOf(keys, facts.file);
  if (ropeFactors === null) return { rope_theta: theta, rope_scaling: byKeys };
  if (byKeys !== null) {
    throw new InputError('has both rope_freqs.weight and rope.scaling keys', { file: facts.file });
  }
  return {
    rope_theta: theta,
    rope_scaling: scalingByFactors(ropeFactors, theta, rotaryDim, facts),
  };
}

/** Factors for short and for long sequences. */
function scalingByLength(
  { short, long }: NonNullable<GgufFacts['lengthFactors']>,
  keys: GgufKeys,
): RopeScaling {
  const attention = keys.optionalNumber('rope.scaling.attn_factor');
  return {
    rope_type: 'longrope',
    type: 'longrope',
    short_factor: Array.from(short, shortest),
    long_factor: Array.from(long, shortest),
    original_max_position_embeddings: keys.integer('rope.scaling.original_context_length'),
    ...(attention !== undefined && { attention_factor: shortest(attention) }),
  };
}

function scalingOf(keys: GgufKeys, file: string): RopeScaling | null {
  const type = keys.text('rope.scaling.type');
  const factor =
    keys.optionalNumber('rope.scaling.factor') ?? keys.optionalNumber('rope.scale_linear');
  // Some writers give 0 where nothing is scaled.
  if (type === 'none' || factor === undefined || factor === 0 || factor === 1) return null;
  if (type === undefined || type === 'linear') {
    return { rope_type: 'linear', type: 'linear', factor: shortest(factor) };
  }
  if (type === 'yarn') {
    const optional = (name: string, key: string) => {
      const value = keys.optionalNumber(key);
      return value === undefined ? {} : { [name]: shortest(value) };
    };
    return {
      rope_type: 'yarn',
      type: 'yarn',
      factor: shortest(factor),
      ...optional('original_max_position_embeddings', 'rope.scaling.original_context_length'),
      ...optional('attention_factor', 'rope.scaling.attn_factor'),
      ...optional('beta_fast', 'rope.scaling.yarn_beta_fast'),
      ...optional('beta_slow', 'rope.scaling.yarn_beta_slow'),
    };
  }
  throw new InputError(
    `rotary scaling '${type}' is not supported`,
    { file },
    'Supported: none, linear, yarn',
  );
}

/**
 * The scaling of the third generation of Llama models, reconstructed from the factors in the file. Of a
 * frequency with wavelength w, it is 1 below `original / high`, `factor` above `original / low`, and
 * between them 1 / ((1 - s) / factor + s) with s = (original / w - low) / (high - low).
 */
function scalingByFactors(
  factors: Float32Array,
  theta: number,
  rotaryDim: number,
  { file }: GgufFacts,
): RopeScaling | null {
  const place = { file, tensor: 'rope_freqs.weight' };
  if (factors.length !== rotaryDim / 2 || !factors.every((factor) => factor >= 1)) {
    throw new InputError(
      `must hold ${rotaryDim / 2} rotary frequency factors, all at least 1`,
      place,
    );
  }
  const wavelengths = Array.from(factors, (_, i) => 2 * Math.PI * theta ** ((2 * i) / rotaryDim));
  const factor = shortest(Math.max(...factors));
  if (factor === 1) return null;
  const candidate = (low: number, high: number, original: number) => ({
    rope_type: 'llama3',
    type: 'llama3',
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  });
  const fits = ({
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  }: ReturnType<typeof candidate>) =>
    wavelengths.every((wavelength, i) => {
      const share = Math.min(1, Math.max(0, (original / wavelength - low) / (high - low)));
      const expected = 1 / ((1 - share) / factor + share);
      return Math.abs(expected - (factors[i] ?? 0)) <= tolerance * expected;
    });
  // First the values of every published model; then those that follow from the factors between the ends,
  // with low = 1.
  const published = candidate(1, 4, 8192);
  if (fits(published)) return published;
  const shares = Array.from(factors, (f, i) => ({
    inverse: 1 / (wavelengths[i] ?? 1),
    share: (1 / f - 1 / factor) / (1 - 1 / factor),
  })).filter(({ share }) => share > tolerance && share < 1 - tolerance);
  const [first] = shares;
  const last = shares.at(-1);
  if (first !== undefined && last !== undefined && first !== last) {
    // share = slope / w - intercept
    const slope = (first.share - last.share) / (first.inverse - last.inverse);
    const intercept = slope * first.inverse - first.share;
    const high = shortestWithin(1 + 1 / intercept);
    const found = candidate(1, high, Math.round(slope * (high - 1)));
    if (fits(found)) return found;
  }
  throw new InputError('its frequency factors match no supported rotary scaling (llama3)', place);
}

/** The number with the fewest digits that differs from `value` by less than a thousandth. */
function shortestWithin(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.abs(candidate - value) < 1e-3 * value) return candidate;
  }
  return value;
}
