/** A list of merges, as tokenizer.json, merges.txt and GGUF files write it, as a table of ids. */

import { MergeTable } from './merge-table.ts';
import type { Vocabulary } from './vocabulary.ts';

/** Lines that begin with this are comments, as in the reference. */
export const versionLine = '#version';

const blank = 0x20;

/** Builds a table merge by merge, the best first. */
export class MergeTableBuilder {
  readonly #vocabulary: Vocabulary;
  readonly #prefix: string;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #merged: Int32Array;
  #rank = 0;
  #units = new Uint16Array(64);

  /**
   * @param most the most merges that may be added
   * @param prefix the prefix of all tokens of a word after the first, which merging removes
   */
  constructor(vocabulary: Vocabulary, most: number, prefix = '') {
    this.#vocabulary = vocabulary;
    this.#prefix = prefix;
    this.#left = new Int32Array(most);
    this.#right = new Int32Array(most);
    this.#merged = new Int32Array(most);
  }

  /** Adds "a b" or ["a", "b"]. @returns false when it is neither, or does not fit the vocabulary */
  add(merge: unknown): boolean {
    if (typeof merge === 'string') {
      const units = this.#put(merge);
      return this.addLine(units, 0, merge.length);
    }
    if (!Array.isArray(merge) || merge.length !== 2) return false;
    const [left, right]: readonly unknown[] = merge;
    if (typeof left !== 'string' || typeof right !== 'string') return false;
    const units = this.#put(left + right);
    return this.#addPair(units, 0, left.length, left.length, left.length + right.length);
  }

  /** Adds the line in [start, end) of `units`; skips a comment. */
  addLine(units: Uint16Array, start: number, end: number): boolean {
    if (isComment(units, start, end)) return true;
    const space = units.indexOf(blank, start);
    if (space < 0 || space >= end) return false;
    const other = units.indexOf(blank, space + 1);
    if (other >= 0 && other < end) return false;
    return this.#addPair(units, start, space, space + 1, end);
  }

  finish(): MergeTable {
    return new MergeTable({
      left: this.#left.slice(0, this.#rank),
      right: this.#right.slice(0, this.#rank),
      merged: this.#merged.slice(0, this.#rank),
    });
  }

  /** Looks up tokens in place, also joined ones, without creating strings. */
  #addPair(units: Uint16Array, start: number, leftEnd: number, from: number, end: number): boolean {
    const prefix = this.#prefix;
    for (let i = 0; i < prefix.length; i++) {
      if (from + i >= end || units[from + i] !== prefix.charCodeAt(i)) return false;
    }
    const left = this.#vocabulary.idOfUnits(units, start, leftEnd);
    const right = this.#vocabulary.idOfUnits(units, from, end);
    const rest = from + prefix.length;
    const merged = this.#vocabulary.idOfUnits(units, start, leftEnd, rest, end);
    if (left < 0 || right < 0 || merged < 0) return false;
    this.#left[this.#rank] = left;
    this.#right[this.#rank] = right;
    this.#merged[this.#rank++] = merged;
    return true;
  }

  #put(text: string): Uint16Array {
    if (text.length > this.#units.length) this.#units = new Uint16Array(2 * text.length);
    const units = this.#units;
    for (let i = 0; i < text.length; i++) units[i] = text.charCodeAt(i);
    // Remains of an earlier, longer text in the buffer do not belong to this one.
    return units.subarray(0, text.length);
  }
}

function isComment(units: Uint16Array, start: number, end: number): boolean {
  if (end - start < versionLine.length) return false;
  for (let i = 0; i < versionLine.length; i++) {
    if (units[start + i] !== versionLine.charCodeAt(i)) return false;
  }
  return true;
}
