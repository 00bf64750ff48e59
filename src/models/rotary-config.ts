/**
 * Rotary embeddings in configurations: `rope_parameters`, or the older separate fields `rope_theta`,
 * `rope_scaling` and `partial_rotary_factor`. A file with both forms is read as in transformers 5: a
 * non-empty `rope_scaling` is used and the other form ignored.
 */

import { brief, isJsonObject } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { boolean, type ConfigFile, firstInteger, number, positiveNumber } from './config.ts';
import type { RotaryPositions, RotaryScaling } from './positions.ts';

export interface RotaryDefaults {
  /**
   * Share of a head's values that are rotated if the file does not give it; null: the family rotates all.
   */
  readonly partial: number | null;
  /** The base if the file does not give it. */
  readonly theta?: number;
  /** The family's own keys for base and share. */
  readonly keys?: { readonly theta: string; readonly partial: string };
}

/** The default base of transformers in most families. */
const defaultTheta = 10_000;
const defaultKeys = { theta: 'rope_theta', partial: 'partial_rotary_factor' } as const;

/**
 * The rotary embedding of heads of width `headDim`, and the longest sequence that it supports.
 * @param trained positions of `max_position_embeddings`
 * @throws InputError for an unknown scaling
 */
export function rotaryOf(
  at: ConfigFile,
  headDim: number,
  trained: number,
  defaults: RotaryDefaults,
): { readonly positions: RotaryPositions; readonly maxPositions: number } {
  return rotaryFrom(ropeOf(at), at, headDim, trained, defaults);
}

/**
 * The same from the given part of the file.
 * @param rope content of `rope_parameters` or `rope_scaling`; empty if there is neither
 */
export function rotaryFrom(
  rope: ConfigFile,
  at: ConfigFile,
  headDim: number,
  trained: number,
  defaults: RotaryDefaults,
): { readonly positions: RotaryPositions; readonly maxPositions: number } {
  /**
   * A field that newer files have within `rope_parameters`, and older ones, under the key `older`, beside
   * `rope_scaling`.
   */
  const either = (key: string, older: string, fallback: number) => {
    if (rope.config[key] !== undefined) return positiveNumber(rope, key, fallback);
    return positiveNumber(at, older, fallback);
  };
  const { keys = defaultKeys } = defaults;
  const theta = either(defaultKeys.theta, keys.theta, defaults.theta ?? defaultTheta);
  const share = either(defaultKeys.partial, keys.partial, defaults.partial ?? 1);
  const whole = defaults.partial === null;
  if (whole && share !== 1 && kindOf(rope) !== 'default') {
    throw new InputError(
      `'partial_rotary_factor' is ${share} and the rotary scaling is ${brief(kindOf(rope))}: in this family scaling needs a partial_rotary_factor of 1`,
      { file: at.file },
    );
  }
  const dims = whole ? headDim : Math.trunc(headDim * share);
  if (dims < 2 || dims % 2 !== 0 || dims > headDim) {
    throw new InputError(
      `the rotary embedding has ${dims} dimensions; it must have an even number from 2 to the head size, ${headDim}`,
      {
        file: at.file,
      },
    );
  }
  const scaling = scalingOf(rope, at, dims, trained);
  return {
    positions: { kind: 'rotary', theta, dims, pairs: 'halves', scaling },
    maxPositions: longest(scaling, trained),
  };
}

/** The part of the file that describes rotary positions; an empty one if there is none. */
function ropeOf(at: ConfigFile): ConfigFile {
  const older = partOf(at, 'rope_scaling');
  const [key, rope] =
    older !== null && Object.keys(older.config).length > 0
      ? ['rope_scaling', older]
      : ['rope_parameters', partOf(at, 'rope_parameters')];
  const nested = Object.keys(rope?.config ?? {}).find((name) => isJsonObject(rope?.config[name]));
  if (nested !== undefined) {
    throw new InputError(
      `'${key}' has separate parameters for ${brief(nested)}: rotary embeddings that differ from layer to layer are not supported`,
      { file: at.file },
    );
  }
  return rope ?? { config: {}, file: at.file };
}

function kindOf({ config }: ConfigFile): unknown {
  return config.rope_type ?? config.type ?? 'default';
}

/** @param beside the fields around `at` in the file */
function scalingOf(
  at: ConfigFile,
  beside: ConfigFile,
  dims: number,
  trained: number,
): RotaryScaling {
  const kind = kindOf(at);
  const originalKeys = ['original_max_position_embeddings'];
  const original = firstInteger(beside, originalKeys, firstInteger(at, originalKeys, trained));
  switch (kind) {
    case 'default':
      return { kind: 'none' };
    case 'linear':
      return { kind: 'linear', factor: positiveNumber(at, 'factor') };
    case 'dynamic':
      if (dims === 2)
        throw new InputError(
          'dynamic rotary scaling needs at least 4 rotary dimensions, not 2',
          at,
        );
      return { kind: 'dynamic', factor: positiveNumber(at, 'factor'), trained };
    case 'llama3':
      return {
        kind: 'llama3',
        factor: positiveNumber(at, 'factor'),
        trained: original,
        lowFactor: positiveNumber(at, 'low_freq_factor'),
        highFactor: positiveNumber(at, 'high_freq_factor'),
      };
    case 'yarn': {
      const factor = positiveNumber(at, 'factor', trained / original);
      return {
        kind: 'yarn',
        factor,
        trained: original,
        betaFast: number(at, 'beta_fast', 0) || 32,
        betaSlow: number(at, 'beta_slow', 0) || 1,
        truncate: boolean(at, 'truncate', true),
        attentionFactor: positiveNumber(at, 'attention_factor', yarnAttention(at, factor)),
      };
    }
    case 'longrope':
    case 'su': {
      const factor = positiveNumber(at, 'factor', trained / original);
      const byLength = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
      return {
        kind: 'longrope',
        short: factorsOf(at, 'short_factor', dims),
        long: factorsOf(at, 'long_factor', dims),
        trained: original,
        attentionFactor: positiveNumber(at, 'attention_factor', givenFactor(at) ?? byLength),
      };
    }
    default:
      throw new InputError(
        `rotary scaling ${brief(kind)} is not supported`,
        { file: at.file },
        'Supported: default, linear, dynamic, llama3, yarn, longrope',
      );
  }
}

/** A factor for each pair of a head. */
function factorsOf({ config, file }: ConfigFile, key: string, dims: number): number[] {
  const factors: unknown = config[key];
  const isFactor = (value: unknown) => typeof value === 'number' && value > 0 && value < Infinity;
  if (Array.isArray(factors) && factors.length === dims / 2 && factors.every(isFactor)) {
    return factors as number[];
  }
  const count = Array.isArray(factors) ? `a list of ${factors.length}` : brief(factors);
  throw new InputError(`'${key}' is not a list of ${dims / 2} numbers above 0: ${count}`, { file });
}

/** The factor of PhiMoE for short and for long sequences; null if a file gives none. */
function givenFactor(at: ConfigFile): number | null {
  const [short, long] = [number(at, 'short_mscale', 0), number(at, 'long_mscale', 0)];
  if (short === long) return short === 0 ? null : short;
  throw new InputError(
    `'short_mscale' is ${short} and 'long_mscale' is ${long}: only one factor is supported`,
    { file: at.file },
  );
}

/** The factor that the paper suggests, or one with given weights of the logarithm. */
function yarnAttention(at: ConfigFile, factor: number): number {
  const by = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  const [weight, weightAll] = [number(at, 'mscale', 0), number(at, 'mscale_all_dim', 0)];
  return weight !== 0 && weightAll !== 0 ? by(weight) / by(weightAll) : by(1);
}

/** Scalings that were added to a trained model multiply the length that its configuration gives. */
function longest(scaling: RotaryScaling, trained: number): number {
  switch (scaling.kind) {
    case 'linear':
    case 'dynamic':
      return Math.floor(trained * Math.max(1, scaling.factor));
    case 'yarn':
      return Math.max(trained, Math.floor(scaling.trained * scaling.factor));
    default:
      return trained;
  }
}

function partOf({ config, file }: ConfigFile, key: string): ConfigFile | null {
  const part = config[key];
  if (part === undefined || part === null) return null;
  if (!isJsonObject(part)) throw new InputError(`'${key}' is not an object`, { file });
  return { config: part, file };
}
