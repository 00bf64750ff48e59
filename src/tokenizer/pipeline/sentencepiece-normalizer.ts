/**
 * Prepares a text like SentencePiece: replaces characters, removes excess spaces, puts a space in front,
 * and turns spaces into U+2581. Symbols that were user-defined in training stay unchanged.
 *
 * This type of component is our own: the reference implementation composes it from others, which replace
 * characters by clusters instead of the longest match, and differ if the text contains U+2581.
 */

import { CharacterMap } from './charsmap.ts';
import type { Part } from './part.ts';
import { Trie } from './trie.ts';

const blank = '\u2581';
const encoder = new TextEncoder();

interface Options {
  readonly map: CharacterMap | null;
  /** Texts in which nothing is replaced. */
  readonly symbols: Trie | null;
  readonly addDummyPrefix: boolean;
  /** Whether that applies only at the beginning of the whole text, and not after each added token. */
  readonly first: boolean;
  readonly removeExtra: boolean;
  /** The character that represents a space. */
  readonly space: string;
  readonly suffix: boolean;
}

/** @throws InputError when an option has the wrong type, or the table of characters is invalid */
export function sentencePieceNormalizer(part: Part): (text: string, atStart: boolean) => string {
  const symbols = part.list('user_defined_symbols');
  const trie = new Trie();
  for (const symbol of symbols) {
    if (typeof symbol !== 'string' || symbol === '' || !trie.add(symbol, 0)) {
      throw part.refused("'user_defined_symbols' must be distinct texts");
    }
  }
  const options: Options = {
    map: characterMap(part),
    symbols: symbols.length === 0 ? null : trie,
    addDummyPrefix: part.flag('add_dummy_prefix'),
    first: part.choice('prepend_scheme', ['always', 'first'] as const) === 'first',
    removeExtra: part.flag('remove_extra_whitespaces'),
    space: part.flag('escape_whitespaces') ? blank : ' ',
    suffix: part.flag('treat_whitespace_as_suffix'),
  };
  return (text, atStart) => prepared(text, atStart, options);
}

/**
 * The field `precompiled_charsmap`, in base64; null if it is absent.
 * @throws InputError when it is not a valid table
 */
export function characterMap(part: Part): CharacterMap | null {
  const text = part.text('precompiled_charsmap', '');
  if (text === '') return null;
  try {
    return new CharacterMap(Buffer.from(text, 'base64'));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw part.refused(
      `'precompiled_charsmap' is not a valid table of characters: ${error.message}`,
    );
  }
}

function prepared(text: string, atStart: boolean, options: Options): string {
  const { addDummyPrefix, first, removeExtra, space, suffix } = options;
  const dummy = addDummyPrefix && (atStart || !first) ? space : '';
  let result = '';
  let begun = false;
  let afterBlank = removeExtra;
  for (const part of replaced(text, options)) {
    if (!begun) {
      if (removeExtra && part === ' ') continue;
      begun = true;
      if (!suffix) result = dummy;
    }
    let from = 0;
    if (afterBlank) while (part[from] === ' ') from++;
    if (from < part.length) {
      result += part.slice(from).replaceAll(' ', space);
      afterBlank = part.endsWith(' ');
    }
    if (!removeExtra) afterBlank = false;
  }
  if (!begun) return '';
  if (removeExtra) {
    let end = result.length;
    while (end > 0 && result[end - 1] === space) end--;
    result = result.slice(0, end);
  }
  return suffix ? result + dummy : result;
}

/** The replacements of the parts of a text: symbols, the longest keys of the map, single characters. */
function* replaced(text: string, { map, symbols }: Options): Generator<string> {
  const bytes = map === null ? null : encoder.encode(text);
  /** Position of `at` in the bytes. */
  let byte = 0;
  for (let at = 0; at < text.length; ) {
    const symbol = symbols?.longestAt(text, at) ?? null;
    if (symbol !== null) {
      const found = text.slice(at, symbol.end);
      yield found;
      at = symbol.end;
      if (bytes !== null) byte += Buffer.byteLength(found);
      continue;
    }
    const match = bytes === null ? null : (map?.longest(bytes, byte) ?? null);
    if (match !== null) {
      yield match.text;
      byte += match.length;
      at += unitsOf(bytes as Uint8Array, byte - match.length, byte);
      continue;
    }
    const code = text.codePointAt(at) as number;
    const end = at + (code > 0xffff ? 2 : 1);
    yield text.slice(at, end);
    at = end;
    byte += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
}

/** How many UTF-16 units the characters of [start, end) have. */
function unitsOf(bytes: Uint8Array, start: number, end: number): number {
  let units = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte < 0x80 || byte >= 0xc0) units += byte >= 0xf0 ? 2 : 1;
  }
  return units;
}
