/**
 * A tokenizer.json for a SentencePiece model of the BPE kind, as in GGUF files. Such a model has no list of
 * merges: among all neighbours whose union is a piece, the two whose union has the best score are merged.
 * The equivalent ranked merges are all ways to split a piece into two pieces, ordered by the score of the
 * whole piece.
 */

import { surround } from '../post-processor.ts';
import type { AddedToken, Component, TokenizerJson } from '../tokenizer-json.ts';

/** Kinds of pieces, with SentencePiece's numbers. */
export const pieceKind = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

export interface SentencePieceModel {
  /** By id. */
  readonly pieces: readonly string[];
  readonly scores: ArrayLike<number>;
  readonly kinds: ArrayLike<number>;
  readonly unknownId: number | undefined;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  /** Whether every text begins with a space. */
  readonly spacePrefix: boolean;
  readonly addBos: boolean;
  readonly addEos: boolean;
}

/** The character that pieces have in place of a space. */
const blank = '\u2581';

export function tokenizerJsonFromPieces(model: SentencePieceModel): TokenizerJson {
  const { pieces, kinds, spacePrefix, unknownId } = model;
  const vocab = vocabularyOf(pieces, (id) => kinds[id] !== pieceKind.unused);
  const token = (id: number | undefined, wanted: boolean) => {
    const content = id === undefined ? undefined : pieces[id];
    return wanted && id !== undefined && content !== undefined ? { id, content } : undefined;
  };
  const prepend = spacePrefix ? [{ type: 'Prepend', prepend: blank }] : [];
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialPieces((id) => pieces[id], kinds),
    normalizer: {
      type: 'Sequence',
      normalizers: [...prepend, { type: 'Replace', pattern: { String: ' ' }, content: blank }],
    },
    pre_tokenizer: null,
    post_processor: surround(token(model.bosId, model.addBos), token(model.eosId, model.addEos)),
    decoder: pieceDecoder(spacePrefix),
    // User-defined symbols are matched in the text before the model processes it.
    model: pieceBpe(model, vocab, {
      unknown: token(unknownId, true)?.content ?? null,
      byteFallback: true,
      userDefined: [],
    }),
  };
}

/** Pieces to text. @param strips whether a space at the beginning is removed */
export function pieceDecoder(strips: boolean): Component {
  return {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: blank }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      ...(strips ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
    ],
  };
}

/**
 * The model of a tokenizer.json.
 * @param said the unknown piece, and the ids of pieces that the model matches as a whole
 */
export function pieceBpe(
  model: Pick<SentencePieceModel, 'pieces' | 'scores' | 'kinds'>,
  vocab: Readonly<Record<string, number>>,
  said: {
    readonly unknown: string | null;
    readonly byteFallback: boolean;
    readonly userDefined: readonly number[];
  },
): Component {
  const { merges, ties } = mergesOf(model, vocab);
  return {
    type: 'BPE',
    dropout: null,
    unk_token: said.unknown,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: true,
    byte_fallback: said.byteFallback,
    ignore_merges: false,
    sentencepiece: { user_defined: said.userDefined, ties },
    vocab,
    merges,
  };
}

/** `{piece: id}`; if a piece occurs twice, the first counts. */
export function vocabularyOf(
  pieces: readonly string[],
  counts: (id: number) => boolean,
): Record<string, number> {
  // Without a prototype, since pieces may have any name.
  const vocab = Object.create(null) as Record<string, number>;
  for (const [id, piece] of pieces.entries()) {
    if (counts(id) && !Object.hasOwn(vocab, piece)) vocab[piece] = id;
  }
  return vocab;
}

/** Pieces that are matched in the text before the model processes it. */
export function specialPieces(
  piece: (id: number) => string | undefined,
  kinds: ArrayLike<number>,
): AddedToken[] {
  const { control, unknown, userDefined } = pieceKind;
  const found: AddedToken[] = [];
  for (let id = 0; id < kinds.length; id++) {
    const kind = kinds[id];
    const special = kind === control || kind === unknown;
    if (!special && kind !== userDefined) continue;
    const content = piece(id) ?? '';
    if (content === '') continue;
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    found.push({ id, content, ...flags, special });
  }
  return found;
}

interface Merge {
  readonly left: string;
  readonly right: string;
  readonly score: number;
}

/** The merges of a model, and which of them have the same rank: see pipeline/sentencepiece-merges.ts. */
interface RankedMerges {
  readonly merges: readonly (readonly [left: string, right: string])[];
  readonly ties: readonly (readonly [first: number, count: number])[];
}

/** The merges, the best first; with equal scores, those with longer parts first. */
function mergesOf(
  { pieces, scores, kinds }: Pick<SentencePieceModel, 'pieces' | 'scores' | 'kinds'>,
  vocab: Readonly<Record<string, number>>,
): RankedMerges {
  const isNormal = (id: number | undefined) => id !== undefined && kinds[id] === pieceKind.normal;
  const normal = [...pieces.entries()].filter(([id, piece]) => isNormal(id) && vocab[piece] === id);
  // Splits are tried only if both parts have the length of some piece: a hostile piece of a million
  // characters would otherwise be split a million times, and each part looked up by its whole text.
  const isLength = new Set(normal.map(([, { length }]) => length));
  isLength.delete(0);
  const lengths = [...isLength].sort((a, b) => a - b);
  const found: Merge[] = [];
  for (const [id, piece] of normal) {
    for (const cut of lengths) {
      if (cut >= piece.length) break;
      if (!isLength.has(piece.length - cut)) continue;
      const left = piece.slice(0, cut);
      const right = piece.slice(cut);
      if (!isNormal(vocab[left]) || !isNormal(vocab[right])) continue;
      found.push({ left, right, score: scores[id] ?? 0 });
    }
  }
  found.sort(
    (a, b) => b.score - a.score || b.left.length - a.left.length || b.right.length - a.right.length,
  );
  const ties: [first: number, count: number][] = [];
  for (let first = 0, end = 0; first < found.length; first = end) {
    const { score, left, right } = found[first] as Merge;
    let several = false;
    for (end = first; found[end]?.score === score; end++) {
      const other = found[end] as Merge;
      several ||= other.left + other.right !== left + right;
    }
    if (several) ties.push([first, end - first]);
  }
  return { merges: found.map(({ left, right }) => [left, right]), ties };
}
