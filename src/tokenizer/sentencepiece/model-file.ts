/**
 * A SentencePiece model, `tokenizer.model`: the pieces with their scores, and how text is prepared for
 * them. Only the fields that affect ids and text are read:
 *
 *     model        1 piece, repeated   2 trainer   3 normalizer
 *     piece        1 text   2 score (f32)   3 kind
 *     trainer      3 algorithm   24 spaces are suffixes   35 byte fallback   40 .. 43 ids   45 .. 48 texts
 *     normalizer   2 characters   3 dummy prefix   4 removes spaces   5 escapes spaces
 */

import { fileError } from '../../checkpoint/file.ts';
import { brief } from '../../checkpoint/json-file.ts';
import { InputError } from '../../errors.ts';
import { readRegular } from '../../regular-file.ts';
import { pieceKind } from './pieces-json.ts';
import { type Field, fieldsOf } from './protobuf.ts';

/** The name of such a file in a checkpoint. */
export const sentencePieceFile = 'tokenizer.model';

/** Roles of pieces. */
export type PieceRole = 'unk' | 'bos' | 'eos' | 'pad';

/** How a text is prepared. */
export interface NormalizerSpec {
  /** Character replacements: a trie and texts, see pipeline/charsmap.ts; empty for none. */
  readonly charsmap: Buffer;
  /** Whether a space is put before a text (after it, if spaces are suffixes). */
  readonly addDummyPrefix: boolean;
  /** Whether spaces at both ends are removed, and runs of spaces reduced to one. */
  readonly removeExtraWhitespaces: boolean;
  /** Whether spaces become U+2581. */
  readonly escapeWhitespaces: boolean;
}

export interface SentencePieceFile {
  readonly algorithm: 'Unigram' | 'BPE';
  /** By id. */
  readonly pieces: readonly string[];
  /** (pieces) */
  readonly scores: Float32Array;
  /** (pieces), numbered as in `pieceKind`. */
  readonly kinds: Uint8Array;
  /** Id of the unknown piece. */
  readonly unknownId: number;
  /** Ids of pieces with a role; -1 for none. */
  readonly roles: Readonly<Record<PieceRole, number>>;
  readonly byteFallback: boolean;
  readonly treatWhitespaceAsSuffix: boolean;
  readonly normalizer: NormalizerSpec;
}

/** In bytes; more than the largest vocabularies need. */
const longestFile = 64 * 2 ** 20;
const mostPieces = 2 ** 21;

/**
 * The model in `file`.
 * @throws InputError when the file cannot be read, is damaged, or is of a kind that is not supported
 */
export async function readSentencePieceFile(file: string): Promise<SentencePieceFile> {
  const bytes = await readRegular(file, longestFile).catch((error: unknown) => {
    throw fileError(error, file, 'reading');
  });
  return parseSentencePiece(bytes, file);
}

/** The same from its bytes; `file` is for messages. @throws InputError likewise */
export function parseSentencePiece(bytes: Buffer, file: string): SentencePieceFile {
  // A tiktoken file has a line for each character, and no model message begins with its first byte.
  if (/^[A-Za-z0-9+/]+=* \d+\r?\n/.test(bytes.toString('latin1', 0, 64))) {
    throw new InputError(
      'is a list of byte pairs (tiktoken) and not a SentencePiece model',
      { file },
      "Add the model's tokenizer.json",
    );
  }
  const pieces: Piece[] = [];
  let trainer: Trainer | null = null;
  let normalizer = normalizerOf([]);
  const within = (field: Field) => [
    ...fieldsOf(field.bytes, file, field.bytes.byteOffset - bytes.byteOffset),
  ];
  for (const field of fieldsOf(bytes, file)) {
    if (field.wire !== 2) continue;
    if (field.number === 1) {
      if (pieces.length === mostPieces) {
        throw new InputError(`has more than ${mostPieces} pieces`, { file });
      }
      pieces.push(pieceOf(within(field), pieces.length, file));
    } else if (field.number === 2) trainer = trainerOf(within(field));
    else if (field.number === 3) normalizer = normalizerOf(within(field));
  }
  const { roles, ...said } = trainer ?? trainerOf([]);
  const algorithm = algorithms.get(said.algorithm);
  if (algorithm === undefined) {
    const name = others.get(said.algorithm) ?? said.algorithm;
    throw new InputError(`the SentencePiece algorithm ${name} is not supported`, { file });
  }
  const ids = idsOf(pieces, file);
  const unknown = pieces.flatMap(({ kind }, id) => (kind === pieceKind.unknown ? [id] : []));
  const [unknownId] = unknown;
  if (unknownId === undefined || unknown.length > 1) {
    throw new InputError(`has ${unknown.length} pieces for unknown characters, but must have one`, {
      file,
    });
  }
  const idOf = (role: PieceRole) => (roles[role].id < 0 ? -1 : (ids.get(roles[role].text) ?? -1));
  return {
    ...said,
    algorithm,
    pieces: pieces.map(({ text }) => text),
    scores: Float32Array.from(pieces, ({ score }) => score),
    kinds: Uint8Array.from(pieces, ({ kind }) => kind),
    unknownId,
    roles: { unk: unknownId, bos: idOf('bos'), eos: idOf('eos'), pad: idOf('pad') },
    normalizer,
  };
}

interface Piece {
  readonly text: string;
  readonly score: number;
  readonly kind: number;
}

// U+FEFF is an ordinary piece.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf({ bytes }: Field): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

const kindNumbers: ReadonlySet<number> = new Set(Object.values(pieceKind));

function pieceOf(fields: readonly Field[], id: number, file: string): Piece {
  let text: string | null = '';
  let score = 0;
  let kind: number = pieceKind.normal;
  for (const field of fields) {
    if (field.number === 1 && field.wire === 2) text = textOf(field);
    else if (field.number === 2 && field.wire === 5) score = field.bytes.readFloatLE(0);
    else if (field.number === 3 && field.wire === 0) kind = field.integer;
  }
  const what =
    text === null
      ? 'is not text in UTF-8'
      : text === ''
        ? 'is empty'
        : Number.isNaN(score)
          ? 'has no number as its score'
          : kindNumbers.has(kind)
            ? null
            : `is of kind ${kind}, which does not exist`;
  if (what !== null) throw new InputError(`piece ${id} ${what}`, { file });
  return { text: text as string, score, kind };
}

/** Ids by text. */
function idsOf(pieces: readonly Piece[], file: string): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  for (const [id, { text }] of pieces.entries()) {
    const other = ids.get(text);
    if (other !== undefined) {
      throw new InputError(`pieces ${other} and ${id} are both ${brief(text)}`, { file });
    }
    ids.set(text, id);
  }
  return ids;
}

const algorithms: ReadonlyMap<number, SentencePieceFile['algorithm']> = new Map([
  [1, 'Unigram'],
  [2, 'BPE'],
]);
const others: ReadonlyMap<number, string> = new Map([
  [3, 'WORD'],
  [4, 'CHAR'],
]);

interface Trainer extends Pick<SentencePieceFile, 'byteFallback' | 'treatWhitespaceAsSuffix'> {
  /** The number of the kind in the file. */
  readonly algorithm: number;
  readonly roles: Readonly<Record<PieceRole, { readonly id: number; readonly text: string }>>;
}

function trainerOf(fields: readonly Field[]): Trainer {
  const integers = new Map<number, number>();
  const texts = new Map<number, string>();
  for (const field of fields) {
    if (field.wire === 0) integers.set(field.number, field.integer);
    else if (field.wire === 2) texts.set(field.number, textOf(field) ?? '');
  }
  const role = (offset: number, id: number, text: string) => ({
    id: integers.get(40 + offset) ?? id,
    text: texts.get(45 + offset) ?? text,
  });
  return {
    algorithm: integers.get(3) ?? 1,
    treatWhitespaceAsSuffix: (integers.get(24) ?? 0) !== 0,
    byteFallback: (integers.get(35) ?? 0) !== 0,
    roles: {
      unk: role(0, 0, '<unk>'),
      bos: role(1, 1, '<s>'),
      eos: role(2, 2, '</s>'),
      pad: role(3, -1, '<pad>'),
    },
  };
}

function normalizerOf(fields: readonly Field[]): NormalizerSpec {
  let charsmap: Buffer = Buffer.alloc(0);
  const flags = new Map<number, boolean>();
  for (const field of fields) {
    if (field.number === 2 && field.wire === 2) charsmap = field.bytes;
    else if (field.wire === 0) flags.set(field.number, field.integer !== 0);
  }
  return {
    charsmap,
    addDummyPrefix: flags.get(3) ?? true,
    removeExtraWhitespaces: flags.get(4) ?? true,
    escapeWhitespaces: flags.get(5) ?? true,
  };
}
