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
