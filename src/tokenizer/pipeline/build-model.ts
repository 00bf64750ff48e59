/** The kinds of models that a tokenizer.json may have. */

import { brief } from '../../checkpoint/json-file.ts';
import { type BpeTables, buildBpe } from './bpe.ts';
import { type Model, ModelFields, type ModelJson } from './model.ts';
import { Unigram } from './unigram.ts';
import { WordLevel, WordPiece } from './word-piece.ts';

const fields: Readonly<Record<string, readonly string[]>> = {
  BPE: [
    ...['dropout', 'unk_token', 'continuing_subword_prefix', 'end_of_word_suffix', 'fuse_unk'],
    ...['byte_fallback', 'ignore_merges', 'vocab', 'merges', 'sentencepiece'],
  ],
  Unigram: ['unk_id', 'vocab', 'byte_fallback', 'sentencepiece'],
  WordPiece: ['unk_token', 'continuing_subword_prefix', 'max_input_chars_per_word', 'vocab'],
  WordLevel: ['unk_token', 'vocab'],
};

/** The names of the supported models. */
export const modelTypes = Object.keys(fields);

/**
 * @param ready for BPE, replaces the vocabulary and merges of the JSON
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
