/** Models that look up words: WordPiece (the longest pieces from the left) and WordLevel (whole words). */

import { brief } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import { type Model, type ModelFields, vocabOf } from './model.ts';
import { pairsOf, Vocabulary } from './vocabulary.ts';

/** Splits a word into the longest known pieces, from the left. */
export class WordPiece implements Model {
  readonly vocabulary: Vocabulary;
  readonly #unknown: string;
  readonly #prefix: string;
  readonly #mostCharacters: number;

  constructor(read: ModelFields) {
    this.vocabulary = new Vocabulary(pairsOf(vocabOf(read)));
    this.#unknown = read.text('unk_token') ?? '[UNK]';
    this.#prefix = read.text('continuing_subword_prefix') ?? '##';
    this.#mostCharacters = read.count('max_input_chars_per_word', 100);
  }

  tokenize(word: string, ids: number[]): void {
    const pieces: number[] = [];
    const characters = [...word];
    if (characters.length > this.#mostCharacters) {
      ids.push(idOfUnknown(this.vocabulary, this.#unknown));
      return;
    }
    for (let start = 0; start < characters.length; ) {
      let end = characters.length;
      let id: number | undefined;
      for (; end > start && id === undefined; end--) {
        const piece = characters.slice(start, end).join('');
        id = this.vocabulary.idOf(start > 0 ? this.#prefix + piece : piece);
      }
      if (id === undefined) {
        ids.push(idOfUnknown(this.vocabulary, this.#unknown));
        return;
      }
      pieces.push(id);
      start = end + 1;
    }
    for (const id of pieces) ids.push(id);
  }
}

/** Each word is a token or unknown. */
export class WordLevel implements Model {
  readonly vocabulary: Vocabulary;
  readonly #unknown: string;

  constructor(read: ModelFields) {
    this.vocabulary = new Vocabulary(pairsOf(vocabOf(read)));
    this.#unknown = read.text('unk_token') ?? '<unk>';
  }

  tokenize(word: string, ids: number[]): void {
    ids.push(this.vocabulary.idOf(word) ?? idOfUnknown(this.vocabulary, this.#unknown));
  }
}

function idOfUnknown(vocabulary: Vocabulary, unknown: string): number {
  const id = vocabulary.idOf(unknown);
  if (id !== undefined) return id;
  throw new InputError(
    `the text cannot be expressed in the vocabulary of the tokenizer, which does not have its 'unk_token' ${brief(unknown)}`,
  );
}
