/** Turns tokens into text: the component `decoder` of a tokenizer.json. */

import { isJsonObject } from '../../checkpoint/json-file.ts';
import { bytesOfToken } from './byte-level.ts';
import { replace } from './normalizers.ts';
import type { Builders, Part } from './part.ts';
import { metaspaceOptions } from './pre-tokenizers.ts';

/** Maps tokens, at least one, to pieces of text that are joined at the end. */
export type Decoder = (tokens: readonly string[]) => readonly string[];

const builders: Builders<Decoder> = {
  ByteLevel: (part) => {
    part.ignore('add_prefix_space', 'trim_offsets', 'use_regex');
    return byteLevel;
  },
  Metaspace: metaspace,
  ByteFallback: () => byteFallback,
  Fuse: () => (tokens) => [tokens.join('')],
  Strip: (part) => strip(part.character('content'), part.count('start'), part.count('stop')),
  Replace: (part) => {
    const replaced = replace(part.pattern('pattern'), part.text('content'));
    return (tokens) => tokens.map(replaced);
  },
  WordPiece: (part) => wordPiece(part.text('prefix'), part.flag('cleanup')),
  BPEDecoder: (part) => {
    const suffix = part.text('suffix');
    return (tokens) =>
      tokens.map((token, at) => token.replaceAll(suffix, at === tokens.length - 1 ? '' : ' '));
  },
  CTC: (part) =>
    ctc(part.text('pad_token'), part.text('word_delimiter_token'), part.flag('cleanup')),
  Sequence: (part) => {
    const steps = part.parts('decoders').map(decoderOf);
    return (tokens) => steps.reduce((pieces, step) => step(pieces), tokens);
  },
};

/** @throws InputError when the decoder is not supported */
export function decoderOf(part: Part): Decoder {
  return part.build(builders);
}

/** A token that stands for a byte. */
const byteToken = /^<0x([0-9A-Fa-f]{2})>$/;

/** Whether a decoder joins tokens that represent bytes into characters. */
export function joinsBytes(component: unknown): boolean {
  return hasDecoder(component, 'ByteFallback');
}

/** Whether a decoder reads the characters of tokens as bytes. */
export function isByteLevel(component: unknown): boolean {
  return hasDecoder(component, 'ByteLevel');
}

/** Whether a decoder is of a type, or one of its steps is. */
function hasDecoder(component: unknown, wanted: string): boolean {
  if (!isJsonObject(component)) return false;
  const { type, decoders } = component;
  return (
    type === wanted ||
    (Array.isArray(decoders) && decoders.some((step) => hasDecoder(step, wanted)))
  );
}

/** Whether such a decoder reads a token as a byte. */
export function isByteToken(token: string): boolean {
  return byteToken.test(token);
}

/** The byte that a token represents; undefined if it represents none. */
export function byteOfToken(token: string): number | undefined {
  const digits = byteToken.exec(token)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}

// U+FEFF is an ordinary character here, not a byte order mark.
const lenient = new TextDecoder('utf-8', { ignoreBOM: true });
const strict = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });

function byteLevel(tokens: readonly string[]): readonly string[] {
  const bytes: number[] = [];
  for (const token of tokens) for (const byte of bytesOfToken(token)) bytes.push(byte);
  return [lenient.decode(Uint8Array.from(bytes))];
}

/** Tokens such as `<0x41>` are bytes; each byte of a run that is not valid UTF-8 becomes U+FFFD. */
function byteFallback(tokens: readonly string[]): readonly string[] {
  const pieces: string[] = [];
  let bytes: number[] = [];
  const flush = (): void => {
    if (bytes.length === 0) return;
    try {
      pieces.push(strict.decode(Uint8Array.from(bytes)));
    } catch {
      for (const _ of bytes) pieces.push('\ufffd');
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = byteOfToken(token);
    if (byte !== undefined) {
      bytes.push(byte);
      continue;
    }
    flush();
    pieces.push(token);
  }
  flush();
  return pieces;
}

/** Removes up to a given number of a character from the start and the end of every piece. */
function strip(content: string, start: number, stop: number): Decoder {
  return (tokens) =>
    tokens.map((token) => {
      const characters = [...token];
      let from = 0;
      let to = characters.length;
      while (from < start && characters[from] === content) from++;
      while (characters.length - to < stop && to > from && characters[to - 1] === content) to--;
      return characters.slice(from, to).join('');
    });
}

/** The first token begins a text, so its replacement characters are dropped rather than made spaces. */
function metaspace(part: Part): Decoder {
  const { replacement, scheme } = metaspaceOptions(part);
  return (tokens) =>
    tokens.map((token, at) =>
      token.replaceAll(replacement, at === 0 && scheme !== 'never' ? '' : ' '),
    );
}

function wordPiece(prefix: string, cleanup: boolean): Decoder {
  return (tokens) =>
    tokens.map((token, at) => {
      const joined = token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      const piece = at === 0 ? token : joined;
      return cleanup ? withoutBlanks(piece) : piece;
    });
}

/** Spaces before punctuation and within English contractions. */
const loose: readonly (readonly [text: string, tight: string])[] = [
  ...['.', '?', '!', ','].map((mark) => [` ${mark}`, mark] as const),
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [' do not', " don't"],
  ...["'s", "'ve", "'re"].map((ending) => [` ${ending}`, ending] as const),
];

function withoutBlanks(text: string): string {
  return loose.reduce((result, [from, to]) => result.replaceAll(from, to), text);
}

function ctc(pad: string, delimiter: string, cleanup: boolean): Decoder {
  return (tokens) =>
    tokens
      .filter((token, at) => at === 0 || token !== tokens[at - 1])
      .map((token) => {
        const text = token.replaceAll(pad, '');
        return cleanup ? withoutBlanks(text).replaceAll(delimiter, ' ') : text;
      })
      .filter((text) => text !== '');
}
