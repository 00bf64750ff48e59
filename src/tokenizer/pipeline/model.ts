/** What turns words into ids: the component `model` of a tokenizer.json. */

import { brief, isJsonObject } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import { type BpeTables, buildBpe } from './bpe.ts';
import type { MergeTable } from './merge-table.ts';
import { Unigram } from './unigram.ts';
import type { Vocabulary } from './vocabulary.ts';
import { WordLevel, WordPiece } from './word-piece.ts';

export interface Model {
  readonly vocabulary: Vocabulary;
  /** Of BPE. */
  readonly merges?: MergeTable;
  /**
   * Appends the ids of a word, which is not empty, to `ids`.
   * @throws InputError when the vocabulary cannot express it
   */
  tokenize(word: string, ids: number[]): void;
}

/** The fields of a model; the checks of tokenizer-json.ts have been made. */
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

const fields: Readonly<Record<string, readonly string[]>> = {
  BPE: [
    ...['dropout', 'unk_token', 'continuing_subword_prefix', 'end_of_word_suffix', 'fuse_unk'],
    ...['byte_fallback', 'ignore_merges', 'vocab', 'merges'],
  ],
  Unigram: ['unk_id', 'vocab', 'byte_fallback'],
  WordPiece: ['unk_token', 'continuing_subword_prefix', 'max_input_chars_per_word', 'vocab'],
  WordLevel: ['unk_token', 'vocab'],
};

/** The names of the models that there are. */
export const modelTypes = Object.keys(fields);

/**
 * @param ready of BPE, what takes the place of the JSON's vocabulary and merges
 * @throws InputError when a part of it is not supported or does not fit the rest
 */
export function buildModel(json: ModelJson, file: string, ready?: BpeTables): Model {
  const type = String(json.type);
  const known = new Set(['type', ...(fields[type] ?? [])]);
  const read = new ModelFields(json, file);
  for (const [name, value] of Object.entries(json)) {
    if (known.has(name) || value === null || value === false) continue;
    throw read.refused(`field ${brief(name)} is unknown: ${brief(value)}`);
  }
  if (type === 'Unigram') return new Unigram(read);
  if (type === 'WordPiece') return new WordPiece(read);
  if (type === 'WordLevel') return new WordLevel(read);
  return buildBpe(read, ready);
}

/** The vocabulary object of a model, `{token: id}`. */
export function vocabOf(read: ModelFields): Readonly<Record<string, number>> {
  const { vocab } = read.json;
  if (!isJsonObject(vocab)) throw read.refused("'vocab' is not an object");
  return vocab as Readonly<Record<string, number>>;
}
