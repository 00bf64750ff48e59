/**
 * Texts as documents, a piece at a time, so that a text of any length is evaluated in bounded memory.
 */

import type { Tokenizer } from '../tokenizer/tokenizer.ts';

/** A line that holds only the mark; U+2028 and the like end no line. */
const separator = /(?:^|(?<=\n))<\|endoftext\|>(?=\r?\n|$)/;

/** Documents of a text: split at lines that hold only `<|endoftext|>`, empty ones left out. */
export function splitDocuments(text: string): string[] {
  return text
    .replace(/^\ufeff/, '')
    .split(separator)
    .map((document) => document.replace(/^[\r\n]+|[\r\n]+$/g, ''))
    .filter((document) => document !== '');
}

/** The documents of a text that arrives in parts. */
export async function* documentsOf(parts: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const part of parts) {
    rest += part;
    // The last mark may not be whole yet, so everything from it on waits for more.
    const end = rest.lastIndexOf('\n<|endoftext|>', rest.length - '\n<|endoftext|>\r\n'.length);
    if (end < 0) continue;
    yield* splitDocuments(rest.slice(0, end));
    rest = rest.slice(end + 1);
  }
  yield* splitDocuments(rest);
}

/** Longer documents are tokenised in pieces: a tokenizer takes fifty times its text in memory. */
const pieceLength = 64 * 1024; // UTF-16 units

/**
 * The ids of a document, piece by piece. Pieces end after a single newline between two words, where
 * pre-tokenizers of the GPT-2 kind part words in any case.
 */
export function* encodePieces(tokenizer: Tokenizer, document: string): Generator<number[]> {
  let start = 0;
  while (document.length - start > pieceLength) {
    const end = wordStart(document, start + pieceLength);
    if (end < 0) break;
    yield tokenizer.encode(document.slice(start, end));
    start = end;
  }
  yield tokenizer.encode(document.slice(start));
}

/** The first place from `from` on where a word begins a line that follows another; -1 if none. */
function wordStart(text: string, from: number): number {
  const found = text.slice(from, from + pieceLength).search(/(?<=\S\n)[A-Za-z]/);
  return found < 0 ? -1 : from + found;
}

/** Cuts ids that arrive in pieces into windows of `length`, the last one shorter. */
export function* windowsOf(
  pieces: Iterable<readonly number[]>,
  length: number,
): Generator<number[]> {
  let rest: number[] = [];
  for (const piece of pieces) {
    rest = rest.concat(piece);
    let at = 0;
    for (; rest.length - at >= length; at += length) yield rest.slice(at, at + length);
    rest = rest.slice(at);
  }
  if (rest.length > 0) yield rest;
}
