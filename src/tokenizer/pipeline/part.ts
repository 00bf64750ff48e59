/**
 * Reads a part of a tokenizer.json strictly: a field that is unknown, missing or of the wrong type is
 * refused, and the error names its place, so that every part means the same as in the reference.
 */

import { brief, isJsonObject } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import { type Translated, translate } from '../regex/oniguruma.ts';
import { Untranslatable } from '../regex/scan.ts';

/** Builds something from a part of a given type. */
export type Builders<T> = Readonly<Record<string, (part: Part) => T>>;

export class Part {
  readonly type: string;
  readonly #json: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #file: string;
  readonly #read = new Set(['type']);

  /** @param path where the part is in the file, for messages: `decoder.decoders[0]`. */
  constructor(json: unknown, path: string, file: string) {
    this.#path = path;
    this.#file = file;
    if (!isJsonObject(json) || typeof json.type !== 'string') {
      this.#json = {};
      this.type = '';
      throw this.refused(`has no type: ${brief(json)}`);
    }
    this.#json = json;
    this.type = json.type;
  }

  /** Builds by the part's type; fields that no builder read are refused unless they are empty. */
  build<T>(builders: Builders<T>): T {
    const builder = Object.hasOwn(builders, this.type) ? builders[this.type] : undefined;
    if (builder === undefined) {
      throw this.refused(
        `type ${brief(this.type)} is not supported`,
        `Supported are ${Object.keys(builders).join(', ')}`,
      );
    }
    const built = builder(this);
    for (const [name, value] of Object.entries(this.#json)) {
      if (!this.#read.has(name) && value !== null && value !== false) {
        throw this.refused(`field ${brief(name)} is unknown: ${brief(value)}`);
      }
    }
    return built;
  }

  text(name: string, otherwise?: string): string {
    return this.#value(name, otherwise, (value) => typeof value === 'string', 'a text');
  }

  /** A text of one character. */
  character(name: string, otherwise?: string): string {
    const isCharacter = (value: unknown) => typeof value === 'string' && [...value].length === 1;
    return this.#value(name, otherwise, isCharacter, 'one character');
  }

  flag(name: string, otherwise?: boolean): boolean {
    return this.#value(name, otherwise, (value) => typeof value === 'boolean', 'true or false');
  }

  count(name: string, otherwise?: number): number {
    const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
    return this.#value(name, otherwise, isCount, 'a whole number');
  }

  choice<T extends string>(name: string, choices: readonly T[], otherwise?: T): T {
    const isChoice = (value: unknown) => choices.some((choice) => choice === value);
    return this.#value(name, otherwise, isChoice, `one of ${choices.join(', ')}`);
  }

  /** A list of parts. */
  parts(name: string): readonly Part[] {
    const list = this.#value<readonly unknown[]>(name, undefined, Array.isArray, 'a list');
    return list.map((json, at) => this.#part(json, `${name}[${at}]`));
  }

  list(name: string): readonly unknown[] {
    return this.#value<readonly unknown[]>(name, undefined, Array.isArray, 'a list');
  }

  object(name: string): Readonly<Record<string, unknown>> {
    return this.#value<Readonly<Record<string, unknown>>>(
      name,
      undefined,
      isJsonObject,
      'an object',
    );
  }

  /** Fields that do not affect ids or text. */
  ignore(...names: readonly string[]): void {
    for (const name of names) this.#read.add(name);
  }

  /** A pattern, `{"String": "a"}` or `{"Regex": "a+"}`, as a regular expression with the flag `g`. */
  pattern(name: string): RegExp {
    return this.#pattern(name).expression;
  }

  /** The same for a pattern that must not match the empty text. */
  fullPattern(name: string): RegExp {
    const { expression, empty } = this.#pattern(name);
    if (!empty) return expression;
    throw this.refused(`${brief(name)} may match the empty text: ${brief(this.object(name))}`);
  }

  #pattern(name: string): Translated {
    const pattern = this.object(name);
    const [[kind, text] = ['', undefined], ...more] = Object.entries(pattern);
    if (typeof text !== 'string' || more.length > 0 || (kind !== 'String' && kind !== 'Regex')) {
      throw this.refused(`${brief(name)} is neither a String nor a Regex: ${brief(pattern)}`);
    }
    if (kind === 'String') {
      const expression = new RegExp([...text].map(escaped).join(''), 'gv');
      return { expression, empty: text === '' };
    }
    try {
      return translate(text);
    } catch (error) {
      if (!(error instanceof Untranslatable)) throw error;
      throw this.refused(
        `the regular expression ${brief(text)} has ${error.message}, which is not supported`,
      );
    }
  }

  refused(what: string, hint?: string): InputError {
    const type = this.type === '' ? '' : ` (${this.type})`;
    return new InputError(`${this.#path}${type}: ${what}`, { file: this.#file }, hint);
  }

  #part(json: unknown, name: string): Part {
    return new Part(json, `${this.#path}.${name}`, this.#file);
  }

  #value<T>(
    name: string,
    otherwise: T | undefined,
    is: (value: unknown) => boolean,
    what: string,
  ): T {
    this.#read.add(name);
    const value = Object.hasOwn(this.#json, name) ? this.#json[name] : undefined;
    if ((value === undefined || value === null) && otherwise !== undefined) return otherwise;
    if (!is(value)) throw this.refused(`${brief(name)} is not ${what}: ${brief(value)}`);
    return value as T;
  }
}

function escaped(character: string): string {
  return `\\u{${(character.codePointAt(0) as number).toString(16)}}`;
}
