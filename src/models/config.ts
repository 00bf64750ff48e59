/** Fields of a config.json, checked as they are read. */

import { InputError } from '../errors.ts';
import type { Activation } from './spec.ts';

export interface ConfigFile {
  readonly config: Readonly<Record<string, unknown>>;
  readonly file: string;
}

/** Larger values are a damaged or hostile file: no decoder has a million layers or 2^31 columns. */
const largestInteger = 2 ** 31 - 1;

/** A positive integer that must be there. */
export function integer(at: ConfigFile, key: string): number {
  const value = at.config[key];
  if (value === undefined) {
    throw new InputError(`'${key}' is missing`, { file: at.file });
  }
  if (
    typeof value !== 'number' ||
    !Number.isInteger(value) ||
    value < 1 ||
    value > largestInteger
  ) {
    throw new InputError(`'${key}' is not a positive integer: ${JSON.stringify(value)}`, {
      file: at.file,
    });
  }
  return value;
}

/** A non-negative integer, `fallback` when absent, null when null. */
export function optionalInteger(
  at: ConfigFile,
  key: string,
  fallback: number | null,
): number | null {
  const value = at.config[key];
  if (value === undefined) return fallback;
  if (value === null) return null;
  if (
    typeof value !== 'number' ||
    !Number.isInteger(value) ||
    value < 0 ||
    value > largestInteger
  ) {
    throw new InputError(`'${key}' is not a non-negative integer: ${JSON.stringify(value)}`, {
      file: at.file,
    });
  }
  return value;
}

/** One or several non-negative integers, `fallback` when absent, none when null. */
export function integers(at: ConfigFile, key: string, fallback: number[]): number[] {
  const value = at.config[key];
  if (value === undefined) return fallback;
  if (!Array.isArray(value)) {
    const one = optionalInteger(at, key, 0);
    return one === null ? [] : [one];
  }
  return value.map((item: unknown) => {
    const one = optionalInteger({ config: { [key]: item }, file: at.file }, key, 0);
    return one ?? 0;
  });
}

/** The first of `keys` that is there, as a positive integer; `fallback` when none is. */
export function firstInteger(at: ConfigFile, keys: readonly string[], fallback?: number): number {
  const key = keys.find((name) => at.config[name] !== undefined && at.config[name] !== null);
  if (key === undefined && fallback !== undefined) return fallback;
  return integer(at, key ?? keys[0] ?? '');
}

/** A finite number, `fallback` when absent or null. */
export function number(at: ConfigFile, key: string, fallback: number): number {
  const value = at.config[key];
  if (value === undefined || value === null) return fallback;
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new InputError(`'${key}' is not a number: ${JSON.stringify(value)}`, { file: at.file });
  }
  return value;
}

/** A number above 0, `fallback` when absent or null; one that must be there without a fallback. */
export function positiveNumber(at: ConfigFile, key: string, fallback?: number): number {
  const value = number(at, key, fallback ?? Number.NaN);
  if (Number.isNaN(value)) throw new InputError(`'${key}' is missing`, { file: at.file });
  if (!(value > 0)) throw new InputError(`'${key}' is not above 0: ${value}`, { file: at.file });
  return value;
}

export function boolean(at: ConfigFile, key: string, fallback: boolean): boolean {
  const value = at.config[key];
  if (value === undefined || value === null) return fallback;
  if (typeof value !== 'boolean') {
    throw new InputError(`'${key}' is neither true nor false: ${JSON.stringify(value)}`, {
      file: at.file,
    });
  }
  return value;
}

export function text(at: ConfigFile, key: string, fallback: string): string {
  const value = at.config[key];
  if (value === undefined || value === null) return fallback;
  if (typeof value !== 'string') {
    throw new InputError(`'${key}' is not a string: ${JSON.stringify(value)}`, { file: at.file });
  }
  return value;
}

/** The width of a head: `head_dim`, or an equal share of the hidden size. */
export function headDimOf(at: ConfigFile, hiddenSize: number, heads: number): number {
  const given = optionalInteger(at, 'head_dim', 0);
  if (given !== null && given > 0) return given;
  if (hiddenSize % heads === 0) return hiddenSize / heads;
  throw new InputError(
    `hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${heads}`,
    { file: at.file },
  );
}

/** KV heads, of which each serves as many query heads as the others. */
export function kvHeadsOf(at: ConfigFile, keys: readonly string[], heads: number): number {
  const kvHeads = firstInteger(at, keys, heads);
  if (heads % kvHeads === 0) return kvHeads;
  throw new InputError(`${heads} query heads cannot share ${kvHeads} KV heads evenly`, {
    file: at.file,
  });
}

/** What configurations call the activations that the kernels compute. */
const activationNames: Readonly<Record<string, Activation>> = {
  relu: 'relu',
  relu2: 'relu2',
  relu_squared: 'relu2',
  squared_relu: 'relu2',
  fatrelu: 'fatrelu',
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  silu: 'silu',
  swish: 'silu',
};

/** Names that configurations have for activations. */
export const activationConfigNames: readonly string[] = Object.keys(activationNames);

/** The field that names the activation: the first of `keys` that does, or else would. */
export function activationKeyOf({ config }: ConfigFile, keys: readonly string[]): string {
  return keys.find((name) => typeof config[name] === 'string') ?? keys[0] ?? '';
}

/** The activation that the first of `keys` names, and its threshold, `hidden_act_param`. */
export function activationOf(
  at: ConfigFile,
  fallback: string,
  ...keys: readonly string[]
): { readonly activation: Activation; readonly threshold: number } {
  const key = activationKeyOf(at, keys);
  const name = text(at, key, fallback);
  const activation = activationNames[name];
  if (activation === undefined) {
    throw new InputError(
      `${key} '${name}' is not supported`,
      { file: at.file },
      `Supported: ${activationConfigNames.join(', ')}`,
    );
  }
  return {
    activation,
    threshold: activation === 'fatrelu' ? positiveNumber(at, 'hidden_act_param', 0.01) : 0,
  };
}
