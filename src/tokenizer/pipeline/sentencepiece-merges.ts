/**
 * The differences between merges of a SentencePiece model and ranked ones: the field `sentencepiece` of a
 * BPE model, our own extension. Among merges whose tokens have the same score, the leftmost in the text
 * comes first:
 *
 *     user_defined   ids of tokens that are matched as a whole before any merge
 *     ties           [first, count] of consecutive merges that make several tokens of the same score
 *
 * Consecutive merges that make the same token share a rank without being listed.
 */

import { brief, isJsonObject } from '../../checkpoint/json-file.ts';
import type { MergeTable } from './merge-table.ts';
import type { ModelFields } from './model.ts';
import { Trie } from './trie.ts';
import type { Vocabulary } from './vocabulary.ts';

type Tie = readonly [first: number, count: number];

export interface SentencePieceMerges {
  readonly symbols: Trie;
  readonly ties: readonly Tie[];
}

/**
 * The field of a model; null if it has none.
 * @throws InputError when it does not have this form
 */
export function sentencePieceMerges(
  read: ModelFields,
  vocabulary: Vocabulary,
): SentencePieceMerges | null {
  const field = read.json.sentencepiece ?? null;
  if (field === null) return null;
  const { user_defined: ids, ties } = isJsonObject(field) ? field : {};
  const symbols = new Trie();
  const isSymbol = (id: unknown): boolean => {
    const token = typeof id === 'number' ? vocabulary.tokenOf(id) : undefined;
    return token !== undefined && symbols.add(token, id as number);
  };
  if (Array.isArray(ids) && ids.every(isSymbol) && Array.isArray(ties) && ties.every(isTie)) {
    return { symbols, ties };
  }
  throw read.refused(
    `'sentencepiece' has no ids of tokens as 'user_defined', or no pairs of numbers as 'ties': ${brief(field)}`,
  );
}

function isTie(value: unknown): value is Tie {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    value.every((part) => Number.isInteger(part) && (part as number) >= 0)
  );
}

/** (merges): the rank of each, which merges of the same score share. */
export function sharedRanks({ merged }: MergeTable, ties: readonly Tie[]): Int32Array {
  const ranks = new Int32Array(merged.length);
  for (let rank = 0; rank < merged.length; rank++) {
    const same = rank > 0 && merged[rank] === merged[rank - 1];
    ranks[rank] = same ? (ranks[rank - 1] as number) : rank;
  }
  for (const [first, count] of ties) {
    const end = Math.min(first + count, ranks.length);
    for (let rank = first; rank < end; rank++) ranks[rank] = first;
  }
  return ranks;
}
