/**
 * The ids of a text of any length, piece by piece, in bounded memory: exactly those that the whole
 * text has. A tokenizer takes fifty times its text in memory, so long texts are cut; where they may
 * be, the tokenizer itself says:
 *
 *     ... piece before the cut | piece behind it ...
 *                   [  tail  ] | [  head  ]
 *
 * - tail and head together must have the ids of the one followed by those of the other;
 * - the piece must end with the ids that the tail ends with, so that what the tail was cut off from
 *   does not reach the cut (a run of one letter is merged from its beginning on);
 * - more text behind the head must leave the ids that the head begins with.
 *
 * With these, a cut is right wherever words are found by what stands within {@link contextUnits}, and
 * within a word, because byte pair encoding is right where all neighbours are.
 *
 * Some tokenizers put a blank before every text. What is not the beginning is therefore encoded
 * behind a guard, whose ids are taken away again: a short text that does not join with it.
 */

import { InputError } from '../errors.ts';
import { TimeLimitError } from './time-limit.ts';

/**
 * Of UTF-16 units. A multiple of 3 and of 128, as are all pieces of a run of one character, so that
 * groups of three digits and merges of 128 blanks end with it.
 */
const contextUnits = 384;
/** Pieces of 16 Ki units. */
const defaultPieces = 42;
/** Where no place for a cut is found, pieces grow up to so many times their size. */
const mostPieces = 16;
/** Lines and words that begin in this share of a piece, at its end, are looked at. */
const searchedShare = 0.25;
/** How many of each. */
const tried = 3;

const guards = ['', '\n', '.', 'a'] as const;

export class PieceEncoder {
  readonly #encode: (text: string) => readonly number[];
  readonly #file: string;
  readonly #leads = new Map<string, readonly number[] | null>();
  #rest = '';
  /** What the rest is encoded behind; null at the text's beginning. */
  #guard: string | null = null;
  #wanted: number;
  readonly #pieceUnits: number;

  /**
   * @param encode the ids of a text, without special tokens
   * @param file what the text is called in messages
   * @param pieces how many times the context a piece is; fewer in tests
   */
  constructor(encode: (text: string) => readonly number[], file: string, pieces = defaultPieces) {
    this.#pieceUnits = pieces * contextUnits;
    this.#wanted = this.#pieceUnits;
    this.#encode = encode;
    this.#file = file;
  }

  /** Adds text; gives the ids that no text to come can change, a piece at a time. */
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

  /** The ids of what is left; the next text begins anew. */
  end(): readonly number[] {
    const ids = this.#idsOf(this.#rest);
    this.#rest = '';
    this.#guard = null;
    this.#wanted = this.#pieceUnits;
    return ids;
  }

  /** The ids of text that stands where the rest begins. */
  #idsOf(text: string): readonly number[] {
    if (this.#guard === null) return this.#encode(text);
    const ids = this.#behind(this.#guard, text);
    if (ids === null) throw new Error('the tokenizer joins a guard with a text behind it');
    return ids;
  }

  /** Cuts a piece off the rest, or returns null where that cannot be done. */
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

  /** The guard that was right last comes first. */
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

  /** The ids of `text` behind a guard, without the guard's; null where the two join. */
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

  /** The ids of a text; null where the vocabulary has none for it, as it may have none for a guard. */
  #tryEncode(text: string): readonly number[] | null {
    try {
      return this.#encode(text);
    } catch (error) {
      if (error instanceof InputError && !(error instanceof TimeLimitError)) return null;
      throw error;
    }
  }
}

/** Where a text may be cut, at `most` or before: at lines, at words, then anywhere. */
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

/** `at`, or the place behind it where that is between the halves of a surrogate pair. */
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
