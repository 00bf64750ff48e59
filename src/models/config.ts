/** Fields of a config.json, checked as they are read. */

import { brief } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import type { ActivationFunction } from './spec.ts';

export interface ConfigFile {
  readonly config: Readonly<Record<string, unknown>>;
  readonly file: string;
}

/**
 * Upper limits for numbers from a file, several times those of the largest known models. Numbers that
 * control loops or allocations are checked against these before use.
 */
export const limits = {
  layers: 1024,
  heads: 4096,
  headDim: 2 ** 16,
  hiddenSize: 2 ** 20,
  neurons: 2 ** 22,
  experts: 2 ** 12,
  vocabSize: 2 ** 24,
  /** For the rows of a stored table. */
  storedPositions: 2 ** 24,
  /** For any other number. */
  integer: 2 ** 31 - 1,
} as const;

/** A required positive integer. */
export function integer(at: ConfigFile, key: string, most: number = limits.integer): number {
  const value = at.config[key];
  if (value === undefined) {
    throw new InputError(`'${key}' is missing`, { file: at.file });
  }
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) {
    throw new InputError(`'${key}' is not a positive integer: ${brief(value)}`, { file: at.file });
  }
  return atMost(at, key, value, most);
}

function atMost({ file }: ConfigFile, key: string, value: number, most: number): number {
  if (value <= most) return value;
  throw new InputError(`'${key}' is ${value} (at most ${most})`, { file });
}

/** A non-negative integer, `fallback` when absent, null when null. */
export function optionalInteger(
  at: ConfigFile,
  key: string,
  fallback: number | null,
  most: number = limits.integer,
): number | null {
  const value = at.config[key];
  if (value === undefined) return fallback;
  if (value === null) return null;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) {
    throw new InputError(`'${key}' is not a non-negative integer: ${brief(value)}`, {
      file: at.file,
    });
  }
  return atMost(at, key, value, most);
}

/**
 * One or several ids of tokens, `fallback` when absent, none when null. A number that cannot be a token's
 * id, such as -1, is ignored: no model generates it.
 */
export function tokenIds(at: ConfigFile, key: string, fallback: readonly number[]): number[] {
  const value = at.config[key];
  if (value === undefined) return [...fallback];
  if (value === null) return [];
  const ids: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (ids.every((id) => typeof id === 'number' && Number.isInteger(id))) {
    return (ids as readonly number[]).filter((id) => id >= 0 && id < 2 ** 31);
  }
  throw new InputError(`'${key}' is not a token id or a list of token ids: ${brief(value)}`, {
    file: at.file,
  });
}

/** The id of a token, null when there is none. */
export function tokenId(at: ConfigFile, key: string, fallback: number | null): number | null {
  const [first, second] = tokenIds(at, key, fallback === null ? [] : [fallback]);
  if (second === undefined) return first ?? null;
  throw new InputError(`'${key}' must be a single token id: ${brief(at.config[key])}`, {
    file: at.file,
  });
}

/** The first of `keys` that is present, as a positive integer; `fallback` when none is. */
export function firstInteger(
  at: ConfigFile,
  keys: readonly string[],
  fallback?: number,
  most: number = limits.integer,
): number {
  const key = keys.find((name) => at.config[name] !== undefined && at.config[name] !== null);
  if (key === undefined && fallback !== undefined) return fallback;
  return integer(at, key ?? keys[0] ?? '', most);
}

/** A finite number, `fallback` when absent or null. */
export function number(at: ConfigFile, key: string, fallback: number): number {
  const value = at.config[key];
  if (value === undefined || value === null) return fallback;
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new InputError(`'${key}' is not a number: ${brief(value)}`, { file: at.file });
  }
  return value;
}

/** A number above 0, `fallback` when absent or null; required when there is no fallback. */
export function positiveNumber(at: ConfigFile, key: string, fallback?: number): number {
  const value = number(at, key, fallback ?? Number.NaN);
  if (Number.isNaN(value)) throw new InputError(`'${key}' is missing`, { file: at.file });
  if (!(value > 0)) throw new InputError(`'${key}' is not above 0: ${value}`, { file: at.file });
  return value;
}

/** A number above 0 or null, `fallback` when absent. */
export function optionalPositive(
  at: ConfigFile,
  key: string,
  fallback: number | null,
): number | null {
  const value = at.config[key];
  if (value === null) return null;
  return value === undefined ? fallback : positiveNumber(at, key);
}

export function boolean(at: ConfigFile, key: string, fallback: boolean): boolean {
  const value = at.config[key];
  if (value === undefined || value === null) return fallback;
  if (typeof value !== 'boolean') {
    throw new InputError(`'${key}' is neither true nor false: ${brief(value)}`, {
      file: at.file,
    });
  }
  return value;
}

/** A list with 0 or 1 for each layer, as booleans; null when absent or null. */
export function layerFlags(at: ConfigFile, key: string): readonly boolean[] | null {
  const layers = integer(at, 'num_hidden_layers', limits.layers);
  const listed: unknown = at.config[key] ?? null;
  if (listed === null) return null;
  const isFlag = (value: unknown) => value === 0 || value === 1;
  if (Array.isArray(listed) && listed.length === layers && listed.every(isFlag)) {
    return listed.map((flag) => flag === 1);
  }
  throw new InputError(
    `'${key}' is not a list of ${layers} values that are 0 or 1: ${brief(listed)}`,
    {
      file: at.file,
    },
  );
}

/** @throws InputError when one of `keys` is true: none of these features is supported */
export function refuseTrue(at: ConfigFile, ...keys: readonly string[]): void {
  for (const key of keys) {
    if (!boolean(at, key, false)) continue;
    throw new InputError(`'${key}' is true, which is not supported`, { file: at.file });
  }
}

export function text(at: ConfigFile, key: string, fallback: string): string {
  const value = at.config[key];
  if (value === undefined || value === null) return fallback;
  if (typeof value !== 'string') {
    throw new InputError(`'${key}' is not a string: ${brief(value)}`, { file: at.file });
  }
  return value;
}

/** The width of a head if the query heads share the hidden size evenly. */
export function evenHeadDim(at: ConfigFile, hiddenSize: number, heads: number): number {
  if (hiddenSize % heads === 0) return hiddenSize / heads;
  throw new InputError(
    `hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${heads}`,
    { file: at.file },
  );
}

/** The width of a head: `head_dim` if present, else `fallback` or an equal share of the hidden size. */
export function headDimOf(
  at: ConfigFile,
  hiddenSize: number,
  heads: number,
  fallback?: number,
): number {
  const given = optionalInteger(at, 'head_dim', fallback ?? 0, limits.headDim);
  return given || evenHeadDim(at, hiddenSize, heads);
}

/**
 * The width of a head in families that have no `head_dim`.
 * @throws InputError when it is present nevertheless and has another value
 */
export function derivedHeadDim(at: ConfigFile, hiddenSize: number, heads: number): number {
  const derived = evenHeadDim(at, hiddenSize, heads);
  if ((optionalInteger(at, 'head_dim', derived) ?? derived) === derived) return derived;
  throw new InputError(
    `'head_dim' is ${brief(at.config.head_dim)}, but 'hidden_size' / 'num_attention_heads' is ${derived}`,
    { file: at.file },
  );
}

/**
 * The number of KV heads, each of which serves the same number of query heads.
 * @param fallback used where no key gives the number; one for each query head where the fallback does not
 * divide them
 */
export function kvHeadsOf(
  at: ConfigFile,
  keys: readonly string[],
  heads: number,
  fallback = heads,
): number {
  // An explicit null means one for each query head.
  const unsaid = keys.every((key) => at.config[key] === undefined);
  const byDefault = unsaid && heads % fallback === 0 ? fallback : heads;
  const kvHeads = firstInteger(at, keys, byDefault, limits.heads);
  if (heads % kvHeads === 0) return kvHeads;
  throw new InputError(
    `the number of query heads, ${heads}, is not a multiple of the number of KV heads, ${kvHeads}`,
    {
      file: at.file,
    },
  );
}

/** Names in configurations of the activations that the kernels compute. */
const activationNames: ReadonlyMap<string, ActivationFunction> = new Map(
  Object.entries({
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
  } as const),
);

/** The supported activation names of configurations. */
export const activationConfigNames: readonly string[] = [...activationNames.keys()];

/** The field that names the activation: the first of `keys` that is present, else the first of all. */
export function activationKeyOf({ config }: ConfigFile, keys: readonly string[]): string {
  return keys.find((name) => typeof config[name] === 'string') ?? keys[0] ?? '';
}

/** The activation that the first of `keys` names, and its threshold, `hidden_act_param`. */
export function activationOf(
  at: ConfigFile,
  fallback: string,
  ...keys: readonly string[]
): { readonly activation: ActivationFunction; readonly threshold: number } {
  const key = activationKeyOf(at, keys);
  const name = text(at, key, fallback);
  const activation = activationNames.get(name);
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
