/** The sample text as windows of tokens, each after a BOS, as evaluation cuts it. */

import { encodePieces, windowsOf } from '../engine/documents.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';

/**
 * Windows of at most `context` positions, until there are `mostTokens` in all.
 * @param documents see `documentsOf`
 */
export async function windowsFrom(
  documents: AsyncIterable<string> | Iterable<string>,
  tokenizer: Tokenizer,
  bosId: number,
  context: number,
  mostTokens: number,
): Promise<number[][]> {
  const windows: number[][] = [];
  let left = mostTokens;
  for await (const document of documents) {
    for (const window of windowsOf(encodePieces(tokenizer, document), context - 1)) {
      if (left < 2) return windows;
      const ids = [bosId, ...window].slice(0, left);
      windows.push(ids);
      left -= ids.length;
    }
  }
  return windows;
}

/** The first windows, as far as they hold so many tokens; the last one may be cut. */
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
