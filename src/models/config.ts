/** Fields of a config.json, checked as they are read. */

import { InputError } from '../errors.ts';

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
export function optionalInteger(at: ConfigFile, key: string, fallback: number): number | null {
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
