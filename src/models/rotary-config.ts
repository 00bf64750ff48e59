/**
 * Rotary embeddings as configurations give them: `rope_parameters`, or the older `rope_theta`,
 * `rope_scaling` and `partial_rotary_factor` beside one another.
 */

import { isJsonObject } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { boolean, type ConfigFile, firstInteger, number, positiveNumber } from './config.ts';
import type { RotaryPositions, RotaryScaling } from './spec.ts';

export interface RotaryDefaults {
  readonly theta: number;
  /** Share of a head's values that are turned. */
  readonly partial: number;
}

/**
 * The rotary embedding of heads of `headDim`, and the longest sequence it is made for.
 * @param trained positions of `max_position_embeddings`
 * @throws InputError for a scaling that is not known
 */
export function rotaryOf(
  at: ConfigFile,
  headDim: number,
  trained: number,
  defaults: RotaryDefaults,
): { readonly positions: RotaryPositions; readonly maxPositions: number } {
  const rope = partOf(at, 'rope_parameters') ?? partOf(at, 'rope_scaling');
  /** What newer files have within `rope_parameters` and older ones beside `rope_scaling`. */
  const either = (key: string, fallback: number) =>
    positiveNumber(rope?.config[key] === undefined ? at : rope, key, fallback);
  const theta = either('rope_theta', defaults.theta);
  const dims = Math.trunc(headDim * either('partial_rotary_factor', defaults.partial));
  if (dims < 2 || dims % 2 !== 0 || dims > headDim) {
    throw new InputError(`of heads of ${headDim} values, a rotary embedding cannot turn ${dims}`, {
      file: at.file,
    });
  }
  const scaling = rope === null ? ({ kind: 'none' } as const) : scalingOf(rope, dims, trained);
  return {
    positions: { kind: 'rotary', theta, dims, pairs: 'halves', scaling },
    maxPositions: longest(scaling, trained),
  };
}

function scalingOf(at: ConfigFile, dims: number, trained: number): RotaryScaling {
  const kind = at.config.rope_type ?? at.config.type ?? 'default';
  const original = firstInteger(at, ['original_max_position_embeddings'], trained);
  switch (kind) {
    case 'default':
      return { kind: 'none' };
    case 'linear':
      return { kind: 'linear', factor: positiveNumber(at, 'factor') };
    case 'dynamic':
      if (dims === 2) throw new InputError('dynamic scaling takes more than one pair', at);
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
    default:
      throw new InputError(
        `rotary scaling ${JSON.stringify(kind)} is not supported`,
        { file: at.file },
        'Supported: default, linear, dynamic, llama3, yarn',
      );
  }
}

/** What the paper suggests, or with weights of its logarithm. */
function yarnAttention(at: ConfigFile, factor: number): number {
  const by = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  const [weight, weightAll] = [number(at, 'mscale', 0), number(at, 'mscale_all_dim', 0)];
  return weight !== 0 && weightAll !== 0 ? by(weight) / by(weightAll) : by(1);
}

/** Scalings that were put on top of a trained model stretch what it says of itself. */
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
