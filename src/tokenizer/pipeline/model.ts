/** Turns words into ids: the component `model` of a tokenizer.json. */

import { brief, isJsonObject } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import type { MergeTable } from './merge-table.ts';
import type { Vocabulary } from './vocabulary.ts';

export interface Model {
  readonly vocabulary: Vocabulary;
  /** Only in BPE. */
  readonly merges?: MergeTable;
  /**
   * Appends the ids of a word, which is not empty, to `ids`.
   * @throws InputError when the vocabulary cannot express it
   */
  tokenize(word: string, ids: number[]): void;
}

/** The fields of a model; tokenizer-json.ts has checked them. */
export type ModelJson = Readonly<Record<string, unknown>>;

/** Reads single fields of a model. */
export class ModelFields {
  constructor(
    readonly json: ModelJson,
    readonly file: string,
  ) {}

  text(name: string): string | null {
    const value = this.json[name] ?? null;
    if (value === null || typeof value === 'string') return value;
    throw this.refused(`'${name}' is not a text: ${brief(value)}`);
  }

  flag(name: string): boolean {
    const value = this.json[name] ?? false;
    if (typeof value === 'boolean') return value;
    throw this.refused(`'${name}' is not true or false: ${brief(value)}`);
  }

  count(name: string, otherwise: number): number {
    const value = this.json[name] ?? otherwise;
    if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
    throw this.refused(`'${name}' is not a whole number: ${brief(value)}`);
  }

  refused(what: string, hint?: string): InputError {
    return new InputError(`model (${String(this.json.type)}): ${what}`, { file: this.file }, hint);
  }
}

/** The vocabulary object of a model, `{token: id}`. */
export function vocabOf(read: ModelFields): Readonly<Record<string, number>> {
  const { vocab } = read.json;
  if (!isJsonObject(vocab)) throw read.refused("'vocab' is not an object");
  return vocab as Readonly<Record<string, number>>;
}
