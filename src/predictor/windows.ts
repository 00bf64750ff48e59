/** The sample text as windows of tokens, each after a BOS, as evaluation cuts it. */

import { type Documents, windowsOf } from '../engine/documents.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';

export interface WindowsWanted {
  readonly bosId: number;
  /** The most positions of a window. */
  readonly context: number;
  /** The text is read until there are this many tokens. */
  readonly mostTokens: number;
  /** Name of the text in messages. */
  readonly file: string;
  readonly signal?: AbortSignal | undefined;
  /** Called after each window with the number of tokens so far. */
  readonly onTokens?: (tokens: number) => void;
}

/**
 * Windows of at most `context` positions, until there are `mostTokens` in all.
 * @param documents see `documentParts`
 */
export async function windowsFrom(
  documents: Documents,
  tokenizer: Pick<Tokenizer, 'encode'>,
  { bosId, context, mostTokens, file, signal, onTokens }: WindowsWanted,
): Promise<number[][]> {
  const windows: number[][] = [];
  let left = mostTokens;
  const options = { file, ...(signal && { signal }) };
  for await (const window of windowsOf(documents, tokenizer, context - 1, options)) {
    if (left < 2) break;
    const ids = [bosId, ...window].slice(0, left);
    windows.push(ids);
    left -= ids.length;
    onTokens?.(mostTokens - left);
    if (left < 2) break; // before more text is read
  }
  return windows;
}

/** The first windows, with at most `tokens` tokens in total; the last one may be cut. */
export function firstWindows(
  windows: readonly (readonly number[])[],
  tokens: number,
): (readonly number[])[] {
  let left = tokens;
  const first: (readonly number[])[] = [];
  for (const window of windows) {
    if (left < 2) break;
    first.push(window.slice(0, left));
    left -= window.length;
  }
  return first;
}

export function tokensOf(windows: readonly (readonly number[])[]): number {
  return windows.reduce((sum, { length }) => sum + length, 0);
}
