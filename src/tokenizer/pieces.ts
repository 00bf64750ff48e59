/**
 * The ids of a text of any length, piece by piece, in bounded memory: exactly those of the whole text. A
 * tokenizer takes fifty times the memory of its text, so long texts are split. The tokenizer itself shows
 * where a split is possible:
 *
 *     ... piece before the cut | piece after it ...
 *                   [  tail  ] | [  head  ]
 *
 * - the ids of tail and head together must be those of the tail followed by those of the head;
 * - the piece must end with the same ids as the tail, so that the text before the tail has no effect at the
 *   cut (a run of one letter is merged from its beginning on);
 * - more text after the head must not change the ids at the beginning of the head.
 *
 * With these conditions, a cut between words is right if the text within {@link contextUnits} determines
 * the words, and a cut within a word is right because byte pair encoding is right where all neighbours are.
 *
 * Some tokenizers put a space before every text. Pieces after the first are therefore encoded after a
 * guard, a short text that does not merge with them, and the ids of the guard are removed again.
 */

import { InputError } from '../errors.ts';
import { TimeLimitError } from './time-limit.ts';

/**
 * In UTF-16 units. A multiple of 3 and of 128, like all pieces of a run of one character, so that groups of
 * three digits and merges of 128 spaces end at its end.
 */
const contextUnits = 384;
/** Pieces of 16 Ki units. */
const defaultPieces = 42;
/** If no place for a cut is found, pieces grow up to this many times their size. */
const mostPieces = 16;
/** Cuts are tried at lines and words that begin in this share of a piece, at its end. */
const searchedShare = 0.25;
/** How many of each. */
const tried = 3;

const guards = ['', '\n', '.', 'a'] as const;

export class PieceEncoder {
  readonly #encode: (text: string) => readonly number[];
  readonly #file: string;
  readonly #leads = new Map<string, readonly number[] | null>();
  #rest = '';
  /** The guard before the rest; null at the beginning of the text. */
  #guard: string | null = null;
  #wanted: number;
  readonly #pieceUnits: number;

  /**
   * @param encode the ids of a text, without special tokens
   * @param file the name of the text in messages
   * @param pieces length of a piece in multiples of the context; smaller in tests
   */
  constructor(encode: (text: string) => readonly number[], file: string, pieces = defaultPieces) {
    this.#pieceUnits = pieces * contextUnits;
    this.#wanted = this.#pieceUnits;
    this.#encode = encode;
    this.#file = file;
  }

  /** Adds text; yields the ids that further text cannot change, one piece at a time. */
  *push(text: string): Generator<readonly number[]> {
    this.#rest += text;
    while (this.#rest.length >= this.#wanted + 2 * contextUnits) {
      const ids = this.#cut();
      if (ids !== null) {
        this.#wanted = this.#pieceUnits;
        yield ids;
      } else if (this.#wanted >= mostPieces * this.#pieceUnits) {
        throw new InputError(
          `a run of ${this.#wanted} characters has no place where the tokenizer may split it`,
          { file: this.#file },
          'Insert line breaks',
        );
      } else {
        this.#wanted += this.#pieceUnits;
      }
    }
  }

  /** The ids of the remaining text; the next text starts afresh. */
  end(): readonly number[] {
    const ids = this.#idsOf(this.#rest);
    this.#rest = '';
    this.#guard = null;
    this.#wanted = this.#pieceUnits;
    return ids;
  }

  /** The ids of a text at the beginning of the rest. */
  #idsOf(text: string): readonly number[] {
    if (this.#guard === null) return this.#encode(text);
    const ids = this.#behind(this.#guard, text);
    if (ids === null) throw new Error('the tokenizer merges a guard with the text after it');
    return ids;
  }

  /** Cuts a piece off the rest, or returns null if that is impossible. */
  #cut(): readonly number[] | null {
    const text = this.#rest;
    for (const end of placesForCuts(text, this.#wanted)) {
      for (const guard of this.#guardsToTry()) {
        const tailIds = this.#idsBefore(text, end, guard);
        if (tailIds === null) continue;
        const ids = this.#idsOf(text.slice(0, end));
        if (!endsWith(ids, tailIds.slice(tailIds.length >> 1))) break; // no guard changes that
        this.#guard = guard;
        this.#rest = text.slice(end);
        return ids;
      }
    }
    return null;
  }

  /** Try the last successful guard first. */
  #guardsToTry(): readonly string[] {
    const last = this.#guard;
    return last === null ? guards : [last, ...guards.filter((guard) => guard !== last)];
  }

  /** The ids of the tail before `end`, if the text can be cut there with `guard`. */
  #idsBefore(text: string, end: number, guard: string): readonly number[] | null {
    const from = inPairs(text, end - contextUnits);
    const head = text.slice(end, inPairs(text, end + contextUnits));
    const tailIds = this.#behind(guard, text.slice(from, end));
    const headIds = this.#behind(guard, head);
    // Too few ids prove nothing.
    if (tailIds === null || headIds === null || tailIds.length < 2 || headIds.length < 2)
      return null;
    const both = this.#behind(guard, text.slice(from, end) + head);
    if (both?.length !== tailIds.length + headIds.length) return null;
    if (!startsWith(both, tailIds) || !endsWith(both, headIds)) return null;
    const more = this.#behind(guard, text.slice(end, inPairs(text, end + 2 * contextUnits)));
    const kept = headIds.slice(0, (headIds.length + 1) >> 1);
    return more !== null && startsWith(more, kept) ? tailIds : null;
  }

  /** The ids of `text` after a guard, without the guard's; null if the two merge. */
  #behind(guard: string, text: string): readonly number[] | null {
    if (guard === '') return this.#tryEncode(text);
    let lead = this.#leads.get(guard);
    if (lead === undefined) {
      lead = this.#tryEncode(guard);
      this.#leads.set(guard, lead);
    }
    const ids = lead && this.#tryEncode(guard + text);
    return ids && lead && startsWith(ids, lead) ? ids.slice(lead.length) : null;
  }

  /** The ids of a text; null if the vocabulary cannot express it, which is possible for a guard. */
  #tryEncode(text: string): readonly number[] | null {
    try {
      return this.#encode(text);
    } catch (error) {
      if (error instanceof InputError && !(error instanceof TimeLimitError)) return null;
      throw error;
    }
  }
}

/** Possible places for a cut, at or before `most`: at lines, at words, then anywhere. */
function* placesForCuts(text: string, most: number): Generator<number> {
  const least = most * (1 - searchedShare);
  let found = 0;
  for (let at = most; at > least && found < tried; at--) {
    if (text[at - 1] !== '\n' || isBlank(text[at])) continue;
    found++;
    yield at;
  }
  found = 0;
  for (let at = most; at > least && found < tried; at--) {
    if (text[at] !== ' ' || isBlank(text[at - 1]) || isBlank(text[at + 1])) continue;
    found++;
    yield at;
  }
  for (let at = most; at > most - contextUnits; at--) if (inPairs(text, at) === at) yield at;
}

function isBlank(character: string | undefined): boolean {
  return character === undefined || /\s/.test(character);
}

/** `at`, or the next place if `at` is inside a surrogate pair. */
function inPairs(text: string, at: number): number {
  const [before, behind] = [text.charCodeAt(at - 1), text.charCodeAt(at)];
  const inside = before >>> 10 === 0xd800 >>> 10 && behind >>> 10 === 0xdc00 >>> 10;
  return inside ? at + 1 : at;
}

function startsWith(ids: readonly number[], start: readonly number[]): boolean {
  return start.length <= ids.length && start.every((id, at) => ids[at] === id);
}

function endsWith(ids: readonly number[], end: readonly number[]): boolean {
  const from = ids.length - end.length;
  return from >= 0 && end.every((id, at) => ids[from + at] === id);
}
