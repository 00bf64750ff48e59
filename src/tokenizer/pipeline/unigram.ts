/** Unigram models: choose the split of a word into pieces whose scores have the largest sum. */

import { brief, isJsonObject } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import type { Model, ModelFields } from './model.ts';
import { byteTokens, Vocabulary } from './vocabulary.ts';

/** How much lower than the lowest score of a piece the score of an unknown character is. */
const unknownPenalty = 10;

const encoder = new TextEncoder();

/** The best split of a word up to a position. */
interface Best {
  score: number;
  /** Start of its last piece; -1 if there is no split yet. */
  from: number;
  id: number;
}

export class Unigram implements Model {
  readonly vocabulary: Vocabulary;
  readonly #scores: Float64Array;
  readonly #unknownId: number | null;
  readonly #unknownScore: number;
  readonly #longest: number;
  readonly #bytes: readonly (number | undefined)[] | null;
  /**
   * Set for sums as in SentencePiece: in single precision, and without pieces that are not text; null
   * otherwise.
   */
  readonly #unreachable: ReadonlySet<number> | null;

  /** @throws InputError when `unk_id` is not the id of a piece */
  constructor(read: ModelFields) {
    const pieces = read.json.vocab as readonly (readonly [piece: string, score: number])[];
    this.vocabulary = new Vocabulary(pieces.map(([piece], id) => [piece, id] as const));
    this.#scores = Float64Array.from(pieces, ([, score]) => score);
    const unknownId = read.json.unk_id ?? null;
    if (unknownId !== null && !(read.count('unk_id', 0) < pieces.length)) {
      throw read.refused(`'unk_id' is ${brief(unknownId)}, but there are ${pieces.length} pieces`);
    }
    this.#unknownId = unknownId as number | null;
    const exact = sentencePieceOf(read);
    this.#unreachable = exact?.unreachable ?? null;
    this.#unknownScore =
      exact?.unknownScore ??
      this.#scores.reduce((least, score) => Math.min(least, score), Number.POSITIVE_INFINITY) -
        unknownPenalty;
    this.#longest = pieces.reduce((longest, [piece]) => Math.max(longest, piece.length), 0);
    this.#bytes = read.flag('byte_fallback') ? byteTokens(this.vocabulary) : null;
  }

  tokenize(word: string, ids: number[]): void {
    const ways = this.#waysTo(word);
    /** The starts and ends of pieces, from the end backwards. Consecutive unknown pieces become one. */
    const pieces: { from: number; to: number; unknown: boolean }[] = [];
    for (let to = word.length; to > 0; ) {
      const { from, id } = ways[to] as Best;
      const unknown = id === this.#unknownId;
      const last = pieces.at(-1);
      if (unknown && last?.unknown) last.from = from;
      else pieces.push({ from, to, unknown });
      to = from;
    }
    for (const { from, to } of pieces.reverse()) this.#push(word.slice(from, to), ids);
  }

  /** The best split up to each position in the word. */
  #waysTo(word: string): readonly Best[] {
    const ways = Array.from(
      { length: word.length + 1 },
      (): Best => ({ score: 0, from: -1, id: 0 }),
    );
    const unreachable = this.#unreachable;
    const sum = unreachable === null ? exactSum : singleSum;
    for (let start = 0; start < word.length; ) {
      const end = start + ((word.codePointAt(start) as number) > 0xffff ? 2 : 1);
      const { score } = ways[start] as Best;
      let single = false;
      const limit = Math.min(word.length, start + this.#longest);
      for (let to = start + 1; to <= limit; to++) {
        const id = this.vocabulary.idOf(word.slice(start, to));
        if (id === undefined || unreachable?.has(id)) continue;
        improve(ways[to] as Best, sum(score, this.#scores[id] as number), start, id);
        single ||= to === end;
      }
      if (!single) {
        improve(ways[end] as Best, sum(score, this.#unknownScore), start, this.#unknownId ?? -1);
        if (this.#unknownId === null && (ways[end] as Best).from === start) throw inexpressible();
      }
      start = end;
    }
    return ways;
  }

  #push(piece: string, ids: number[]): void {
    const id = this.vocabulary.idOf(piece);
    if (id !== undefined && !this.#unreachable?.has(id)) {
      ids.push(id);
      return;
    }
    const bytes = this.#bytes;
    const found = bytes === null ? [] : [...encoder.encode(piece)].map((byte) => bytes[byte]);
    if (bytes !== null && found.every((byte) => byte !== undefined)) {
      for (const byte of found) ids.push(byte as number);
    } else if (this.#unknownId === null) throw inexpressible();
    else ids.push(this.#unknownId);
  }
}

function improve(best: Best, score: number, from: number, id: number): void {
  if (best.from !== -1 && !(score > best.score)) return;
  best.score = score;
  best.from = from;
  best.id = id;
}

function exactSum(one: number, other: number): number {
  return one + other;
}

/** In single precision: if splits have the same exact sum, rounding decides between them. */
function singleSum(one: number, other: number): number {
  return Math.fround(one + other);
}

interface Exact {
  /** Ids of pieces that never result from text. */
  readonly unreachable: ReadonlySet<number>;
  readonly unknownScore: number;
}

/** The field `sentencepiece`, our own extension: sums as in SentencePiece. */
function sentencePieceOf(read: ModelFields): Exact | null {
  const field = read.json.sentencepiece ?? null;
  if (field === null) return null;
  const { unreachable, unknown_score: unknownScore } = isJsonObject(field) ? field : {};
  if (!Array.isArray(unreachable) || typeof unknownScore !== 'number') {
    throw read.refused(
      `'sentencepiece' has no list 'unreachable' or no number 'unknown_score': ${brief(field)}`,
    );
  }
  return { unreachable: new Set(unreachable as unknown[] as number[]), unknownScore };
}

function inexpressible(): InputError {
  return new InputError(
    "the text cannot be expressed in the vocabulary of the tokenizer, which has no 'unk_id'",
  );
}
