/**
 * Turns ids into text, token by token, as they are generated.
 *
 * A token may hold a part of a character, and some decoders treat the first token of a sequence
 * differently (SentencePiece drops its leading space). So the text of a token is found by decoding a short
 * window of ids and dropping the part that was already emitted:
 *
 *     ids of the window:   | anchor: all emitted | new: not yet certain |
 *     its decoded text:    | emitted         | now certain |  U+FFFD ?  |
 *
 * - The *anchor* only ensures that the new ids are not the first. It has some text, so a decoder's special
 *   treatment of the start of a sequence does not affect the new ids.
 * - Bytes at the end that may still become a character decode to exactly one U+FFFD, so everything except
 *   one trailing U+FFFD is certain, and that one is held back.
 * - When nothing is held back, no character spans the end: the new ids become the next anchor.
 * - Byte tokens (of SentencePiece) are valid text together or not at all: a run of them is held back until
 *   another token ends it.
 * - When something is held back repeatedly (a model that emits broken UTF-8), the window is cut at an
 *   earlier place where decoding both sides separately gives the same text as decoding them together. In
 *   UTF-8 such a place is found within the last four tokens.
 *
 * The window therefore stays a few ids long, and each token costs a few short decodings.
 */

import type { DecodeOptions, Tokenizer } from './tokenizer.ts';

/** The part of a tokenizer that streaming needs. */
export type Decoding = Pick<Tokenizer, 'decode' | 'isSilent' | 'isByte'>;

/** The length from which a place for a cut is searched. */
const longWindow = 12; // ids

/** How many more ids are searched for the start of a preceding run of bytes. */
const longRow = 64;

/** How many places for a cut are tried, from the end of the window. */
const cutsTried = 8;

const replacement = '\ufffd';

export class StreamDecoder {
  readonly #tokenizer: Decoding;
  readonly #options: DecodeOptions;
  #window: number[] = [];
  /** How many ids at the start of the window are the anchor. */
  #anchor = 0;
  /** How much of the window's text has been emitted, in UTF-16 units. */
  #given = 0;
  /** How many ids at the end of the window are bytes whose text is not yet known. */
  #row = 0;
  /** The text that is held back. */
  #kept = '';
  /** Window length at which a cut is searched; doubled when none is found. */
  #limit = longWindow;

  constructor(tokenizer: Decoding, options: DecodeOptions = {}) {
    this.#tokenizer = tokenizer;
    this.#options = options;
  }

  /**
   * Ids that precede the new ones: their text is not emitted, but the next id is then not the beginning.
   */
  follow(ids: readonly number[]): void {
    const spoken = ids.slice(-longWindow - longRow).filter((id) => !this.#isSilent(id));
    let from = Math.max(0, spoken.length - longWindow);
    while (from > 0 && this.#tokenizer.isByte(spoken[from] as number)) from--;
    for (const id of spoken.slice(from)) this.push(id);
    // The complete run of bytes that may end here has been read.
    if (this.#row === 0) return;
    const text = this.#decode(0);
    this.#given = text.endsWith(replacement)
      ? this.#decode(0, this.#window.length - this.#row).length
      : text.length;
  }

  /** The text that has become certain with this id; often empty, never half a character. */
  push(id: number): string {
    if (this.#isSilent(id)) return '';
    this.#window.push(id);
    if (this.#tokenizer.isByte(id)) {
      this.#row++;
      return '';
    }
    this.#row = 0;
    const text = this.#decode(0);
    const certain = text.endsWith(replacement) ? text.slice(0, -replacement.length) : text;
    const out = certain.slice(this.#given);
    this.#given += out.length;
    this.#kept = text.slice(this.#given);
    if (certain.length === text.length) this.#advance();
    else if (this.#window.length >= this.#limit) this.#cut(text);
    return out;
  }

  /** The rest, with U+FFFD for an incomplete character. A new sequence may follow. */
  flush(): string {
    const rest = this.#row > 0 ? this.#decode(0).slice(this.#given) : this.#kept;
    this.#window = [];
    this.#row = 0;
    this.#anchor = 0;
    this.#given = 0;
    this.#kept = '';
    this.#limit = longWindow;
    return rest;
  }

  /** Nothing is held back: the new ids become the anchor, if they have a text of their own. */
  #advance(): void {
    const text = this.#decode(this.#anchor);
    if (text === '') return;
    this.#reanchor(this.#anchor, text.length);
    this.#anchor = this.#window.length;
  }

  /** Shortens a window that has grown long because something is always held back. */
  #cut(text: string): void {
    const last = this.#window.length - 1;
    for (let at = last; at > Math.max(this.#anchor, last - cutsTried); at--) {
      const head = this.#decode(0, at);
      let from = at - 1;
      while (from > 0 && this.#decode(from, at) === '') from--;
      const anchor = this.#decode(from, at);
      const both = this.#decode(from);
      const tail = both.slice(anchor.length);
      if (tail === '' || !both.startsWith(anchor) || head + tail !== text) continue;
      const length = at - from;
      this.#reanchor(from, both.length - this.#kept.length);
      this.#anchor = length;
      return;
    }
    this.#limit *= 2;
  }

  /** Drops the ids before `from`; `given` UTF-16 units of the new window's text have been emitted. */
  #reanchor(from: number, given: number): void {
    this.#window = this.#window.slice(from);
    this.#given = given;
    this.#limit = longWindow;
  }

  #isSilent(id: number): boolean {
    return this.#tokenizer.isSilent(id, this.#options);
  }

  #decode(from: number, to = this.#window.length): string {
    return this.#tokenizer.decode(this.#window.slice(from, to), this.#options);
  }
}
