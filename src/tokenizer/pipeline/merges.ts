/** A list of merges, as tokenizer.json and GGUF files write it, as a table of ids. */

import { MergeTable } from './merge-table.ts';
import type { Vocabulary } from './vocabulary.ts';

/** What lines begin with that are comments, as in the reference. */
export const versionLine = '#version';

/**
 * The table of merges of the form "a b" or ["a", "b"], the best first. Tokens are looked up where they
 * stand in the text: 150,000 merges of Qwen's take 60 ms, with a string for each token 400.
 * @param prefix what tokens behind the first of a word have in front, and merged ones lose
 * @param refused makes the error for a merge of which a part, or the whole, is not in the vocabulary
 */
export function mergeTableOf(
  list: readonly unknown[],
  vocabulary: Vocabulary,
  { prefix = '' }: { readonly prefix?: string },
  refused: (index: number, merge: unknown) => Error,
): MergeTable {
  const lists = [0, 0, 0].map(() => new Int32Array(list.length));
  const [lefts, rights, merged] = lists as [Int32Array, Int32Array, Int32Array];
  let rank = 0;
  for (let index = 0; index < list.length; index++) {
    const merge = list[index];
    if (typeof merge === 'string' && merge.startsWith(versionLine)) continue;
    const pair = typeof merge === 'string' ? splitText(merge) : splitPair(merge);
    if (pair === null) throw refused(index, merge);
    const { text, end, start } = pair;
    const left = vocabulary.idOfPart(text, 0, end);
    const right = vocabulary.idOfPart(text, start, text.length);
    const joined = text.startsWith(prefix, start)
      ? vocabulary.idOfPart(text, 0, text.length, { from: end, to: start + prefix.length })
      : undefined;
    if (left === undefined || right === undefined || joined === undefined) {
      throw refused(index, merge);
    }
    lefts[rank] = left;
    rights[rank] = right;
    merged[rank++] = joined;
  }
  return new MergeTable({
    left: lefts.slice(0, rank),
    right: rights.slice(0, rank),
    merged: merged.slice(0, rank),
  });
}

/** Two tokens of one text: [0, end) and [start, length). */
interface Pair {
  readonly text: string;
  readonly end: number;
  readonly start: number;
}

function splitText(text: string): Pair | null {
  const end = text.indexOf(' ');
  if (end < 0 || text.indexOf(' ', end + 1) >= 0) return null;
  return { text, end, start: end + 1 };
}

function splitPair(merge: unknown): Pair | null {
  if (!Array.isArray(merge) || merge.length !== 2) return null;
  const [left, right]: readonly unknown[] = merge;
  if (typeof left !== 'string' || typeof right !== 'string') return null;
  return { text: left + right, end: left.length, start: left.length };
}
