/** Byte pair encoding: merges pairs of a word's characters in the order of their ranks. */

import { brief } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import { MergeQueue } from './merge-queue.ts';
import type { MergeTable } from './merge-table.ts';
import { MergeTableBuilder } from './merges.ts';
import { type Model, type ModelFields, vocabOf } from './model.ts';
import {
  type SentencePieceMerges,
  sentencePieceMerges,
  sharedRanks,
} from './sentencepiece-merges.ts';
import { byteTokens, pairsOf, Vocabulary } from './vocabulary.ts';

/** How many words are cached with their ids, and up to which length (UTF-16 units). */
const rememberedWords = 4096;
const longestRemembered = 32;

interface BpeOptions {
  readonly unknown: string | null;
  /** Whether adjacent unknown characters become one. */
  readonly fuseUnknown: boolean;
  /** The tokens of bytes, which represent characters without a token. */
  readonly bytes: readonly (number | undefined)[] | null;
  /** The prefix of all characters of a word after the first. */
  readonly prefix: string;
  /** The suffix of the last character of a word. */
  readonly suffix: string;
  /** Whether a word that is a token becomes that token without merges. */
  readonly ignoreMerges: boolean;
  /** Set if the merges are those of a SentencePiece model. */
  readonly sentencePiece: SentencePieceMerges | null;
}

/** The large parts of a BPE model, which may come from another source than its JSON. */
export interface BpeTables {
  readonly vocabulary: Vocabulary;
  readonly merges: MergeTable;
}

/**
 * @param ready replaces the vocabulary and merges of the JSON
 * @throws InputError when the merges do not fit the vocabulary, or the model merges at random
 */
export function buildBpe(read: ModelFields, ready?: BpeTables): Model {
  const { dropout = null } = read.json;
  if (dropout !== null && dropout !== 0) {
    throw read.refused(`'dropout' is ${brief(dropout)}: the same text would not have the same ids`);
  }
  const vocabulary = ready?.vocabulary ?? new Vocabulary(pairsOf(vocabOf(read)));
  const prefix = read.text('continuing_subword_prefix') ?? '';
  return new Bpe(vocabulary, ready?.merges ?? mergeTable(read, vocabulary, prefix), {
    unknown: read.text('unk_token'),
    fuseUnknown: read.flag('fuse_unk'),
    bytes: read.flag('byte_fallback') ? byteTokens(vocabulary) : null,
    prefix,
    suffix: read.text('end_of_word_suffix') ?? '',
    ignoreMerges: read.flag('ignore_merges'),
    sentencePiece: sentencePieceMerges(read, vocabulary),
  });
}

/** The model's list of merges as a table. */
function mergeTable(read: ModelFields, vocabulary: Vocabulary, prefix: string): MergeTable {
  const { merges } = read.json;
  if (!Array.isArray(merges)) throw read.refused("'merges' is not a list");
  const table = new MergeTableBuilder(vocabulary, merges.length, prefix);
  for (const [index, merge] of merges.entries()) {
    if (table.add(merge)) continue;
    throw new InputError(`merge ${index} does not fit the vocabulary: ${brief(merge)}`, {
      file: read.file,
    });
  }
  return table.finish();
}

const encoder = new TextEncoder();

class Bpe implements Model {
  readonly vocabulary: Vocabulary;
  readonly merges: MergeTable;
  readonly #options: BpeOptions;
  /** The rank of each merge, if several merges share a rank. */
  readonly #ranks: Int32Array | null;
  readonly #known = new Map<string, readonly number[]>();
  readonly #queue = new MergeQueue();
  /** The symbols of a word: ids, and the previous and next symbols, -1 if there is none. */
  #ids = new Int32Array(64);
  #before = new Int32Array(64);
  #behind = new Int32Array(64);

  constructor(vocabulary: Vocabulary, merges: MergeTable, options: BpeOptions) {
    this.vocabulary = vocabulary;
    this.merges = merges;
    this.#options = options;
    const { sentencePiece } = options;
    this.#ranks = sentencePiece === null ? null : sharedRanks(merges, sentencePiece.ties);
  }

  tokenize(word: string, ids: number[]): void {
    const whole = this.#options.ignoreMerges ? this.vocabulary.idOf(word) : undefined;
    if (whole !== undefined) {
      ids.push(whole);
      return;
    }
    const known = this.#known.get(word);
    if (known !== undefined) {
      for (const id of known) ids.push(id);
      return;
    }
    const first = ids.length;
    const count = this.#symbols(word);
    this.#merge(count);
    for (let at = 0; at >= 0 && at < count; at = this.#behind[at] as number) {
      ids.push(this.#ids[at] as number);
    }
    if (word.length > longestRemembered) return;
    if (this.#known.size >= rememberedWords) this.#known.clear();
    this.#known.set(word, ids.slice(first));
  }

  /** Turns the word's characters into symbols and returns their number. */
  #symbols(word: string): number {
    const { bytes, fuseUnknown, unknown, prefix, suffix } = this.#options;
    const symbols = this.#options.sentencePiece?.symbols;
    let count = 0;
    const add = (id: number): void => {
      if (count === this.#ids.length) this.#grow();
      this.#ids[count++] = id;
    };
    /** An unknown character that is not stored yet: further ones may be fused with it. */
    let pending: number | null = null;
    for (let at = 0; at < word.length; ) {
      const symbol = symbols?.longestAt(word, at) ?? null;
      if (symbol !== null) {
        if (pending !== null) add(pending);
        pending = null;
        add(symbol.id);
        at = symbol.end;
        continue;
      }
      const end = at + ((word.codePointAt(at) as number) > 0xffff ? 2 : 1);
      const character = word.slice(at, end);
      const token = (at > 0 ? prefix : '') + character + (end === word.length ? suffix : '');
      at = end;
      const id = this.vocabulary.idOf(token);
      if (id !== undefined) {
        if (pending !== null) add(pending);
        pending = null;
        add(id);
        continue;
      }
      const found = bytes === null ? [] : [...encoder.encode(token)].map((byte) => bytes[byte]);
      if (bytes !== null && found.every((byte) => byte !== undefined)) {
        for (const byte of found) add(byte as number);
      } else if (unknown !== null) {
        if (pending !== null && !fuseUnknown) add(pending);
        pending = this.#unknownId(unknown);
      }
      // Without an unknown token, the reference skips the character.
    }
    if (pending !== null) add(pending);
    for (let at = 0; at < count; at++) {
      this.#before[at] = at - 1;
      this.#behind[at] = at + 1 < count ? at + 1 : -1;
    }
    return count;
  }

  #unknownId(unknown: string): number {
    const id = this.vocabulary.idOf(unknown);
    if (id !== undefined) return id;
    throw new InputError(
      `the text cannot be expressed in the vocabulary of the tokenizer, which does not have its 'unk_token' ${brief(unknown)}`,
    );
  }

  /** Merges symbols until no pair can be merged. */
  #merge(count: number): void {
    const queue = this.#queue;
    const ids = this.#ids;
    const before = this.#before;
    const behind = this.#behind;
    const { merges } = this;
    const ranks = this.#ranks;
    const enqueue = (left: number, right: number): void => {
      const rank = merges.rankOf(ids[left] as number, ids[right] as number);
      if (rank < 0) return;
      const order = ranks === null ? rank : (ranks[rank] as number);
      queue.push(order, left, merges.merged[rank] as number);
    };
    queue.clear();
    for (let at = 0; at + 1 < count; at++) enqueue(at, at + 1);
    while (!queue.isEmpty) {
      const { position: left, merged } = queue;
      queue.pop();
      const leftId = ids[left] as number;
      const right = behind[left] as number;
      if (leftId < 0 || right < 0) continue;
      // One of the two symbols may have been merged meanwhile; the merge is valid only if they still make
      // the same token.
      const rank = merges.rankOf(leftId, ids[right] as number);
      if (rank < 0 || merges.merged[rank] !== merged) continue;
      ids[left] = merged;
      ids[right] = -1;
      const next = behind[right] as number;
      behind[left] = next;
      if (next >= 0) before[next] = left;
      const previous = before[left] as number;
      if (previous >= 0) enqueue(previous, left);
      if (next >= 0) enqueue(left, next);
    }
  }

  #grow(): void {
    const length = 2 * this.#ids.length;
    const ids = new Int32Array(length);
    ids.set(this.#ids);
    this.#ids = ids;
    this.#before = new Int32Array(length);
    this.#behind = new Int32Array(length);
  }
}
