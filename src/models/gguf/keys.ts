/** Metadata of a GGUF file, checked as it is read. */

import { InputError } from '../../errors.ts';
import { limits } from '../config.ts';
import { specialTokenId } from './special-tokens.ts';
import type { GgufFacts } from './translation.ts';

export class GgufKeys {
  readonly #facts: GgufFacts;
  readonly #architecture: string;

  constructor(facts: GgufFacts, architecture: string) {
    this.#facts = facts;
    this.#architecture = architecture;
  }

  /** A positive integer under the architecture's prefix; `fallback` when absent. */
  integer(key: string, fallback?: number, most: number = limits.integer): number {
    const value = this.#value(key) ?? fallback;
    const name = `${this.#architecture}.${key}`;
    if (value === undefined) {
      throw new InputError(`the metadata has no ${name}`, { file: this.#facts.file });
    }
    // Some writers give one value per layer.
    const values = isList(value) ? Array.from(value) : [value];
    const [first] = values;
    if (values.some((other) => other !== first)) {
      throw new InputError(`${name} differs from layer to layer, which is not supported`, {
        file: this.#facts.file,
      });
    }
    if (typeof first !== 'number' || !Number.isInteger(first) || first < 1) {
      throw new InputError(`${name} is not a positive integer: ${String(first)}`, {
        file: this.#facts.file,
      });
    }
    if (first > most) {
      throw new InputError(`${name} is ${first} (at most ${most})`, { file: this.#facts.file });
    }
    return first;
  }

  /** A number under the architecture's prefix, undefined when absent. */
  optionalNumber(key: string): number | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      throw new InputError(`${this.#architecture}.${key} is not a number: ${String(value)}`, {
        file: this.#facts.file,
      });
    }
    return value;
  }

  /** A required number, with the value it had before it was rounded to f32. */
  number(key: string): number {
    const value = this.optionalNumber(key);
    if (value === undefined) {
      throw new InputError(`the metadata has no ${this.#architecture}.${key}`, {
        file: this.#facts.file,
      });
    }
    return shortest(value);
  }

  /** The same, `fallback` when absent. */
  numberOr<T>(key: string, fallback: T): number | T {
    const value = this.optionalNumber(key);
    return value === undefined ? fallback : shortest(value);
  }

  text(key: string): string | undefined {
    const value = this.#value(key);
    return typeof value === 'string' ? value : undefined;
  }

  /** Undefined when absent. */
  flag(key: string): boolean | undefined {
    const value = this.#value(key);
    return typeof value === 'boolean' ? value : undefined;
  }

  /** The id of a special token; null when there is none. */
  tokenId(role: string): number | null {
    return specialTokenId(this.#facts.metadata, role);
  }

  has(tensor: string): boolean {
    return this.#facts.shapes.has(tensor);
  }

  #value(key: string): unknown {
    return this.#facts.metadata.get(`${this.#architecture}.${key}`);
  }
}

function isList(value: unknown): value is ArrayLike<unknown> {
  return typeof value === 'object' && value !== null && 'length' in value;
}

/**
 * The decimal number from which an f32 was rounded: 1e-5, not 0.000009999999747378752. The checkpoint's
 * norms use the former.
 */
export function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === Math.fround(value)) return candidate;
  }
  return value;
}
