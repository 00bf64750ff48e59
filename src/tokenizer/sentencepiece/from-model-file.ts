/**
 * A tokenizer.json for checkpoints that have only a SentencePiece model, `tokenizer.model`: ids and texts
 * are those of that library. Tokens of other files, which it does not define, follow transformers:
 *
 * - tokens that are written out in a text become their ids, and each part between two of them is a separate
 *   text with a space in front; with `"legacy": false`, and for LlamaTokenizer, only the first part is;
 * - a token of another file replaces the piece with its id.
 */

import { join } from 'node:path';
import { AddedTokens } from '../pipeline/added-tokens.ts';
import { Vocabulary } from '../pipeline/vocabulary.ts';
import { surround } from '../post-processor.ts';
import { specialTokensOf, type TokenFiles } from '../special-tokens.ts';
import { readTokenFiles } from '../token-files.ts';
import { type Component, isTokenId, type TokenizerJson, tokenContent } from '../tokenizer-json.ts';
import {
  type PieceRole,
  readSentencePieceFile,
  type SentencePieceFile,
  sentencePieceFile,
} from './model-file.ts';
import { pieceBpe, pieceDecoder, pieceKind, specialPieces, vocabularyOf } from './pieces-json.ts';

/**
 * The tokenizer.json of a checkpoint directory that has a tokenizer.model.
 * @throws InputError when that is damaged or of a kind that is not supported, or a file beside it is
 */
export async function readSentencePiece(dir: string): Promise<TokenizerJson> {
  const file = join(dir, sentencePieceFile);
  return tokenizerJsonFromModel(await readSentencePieceFile(file), await readTokenFiles(dir), file);
}

/**
 * The same from the content of the files.
 * @param file where the model comes from, for messages
 * @throws InputError when the tokens of the files do not fit
 */
export function tokenizerJsonFromModel(
  read: SentencePieceFile,
  files: TokenFiles,
  file: string,
): TokenizerJson {
  const config = files.config ?? {};
  const model = { ...read, pieces: renamed(read.pieces, files) };
  const { pieces, kinds } = model;
  const isLlama = /^(Code)?LlamaTokenizer(Fast)?$/.test(String(config.tokenizer_class));
  const addDummyPrefix =
    isLlama && typeof config.add_prefix_space === 'boolean'
      ? config.add_prefix_space
      : model.normalizer.addDummyPrefix;
  const legacy = isLlama ? config.legacy === true : config.legacy !== false;
  const usual = Object.fromEntries(
    (['bos', 'eos', 'unk', 'pad'] as const).flatMap((role) => {
      const piece = pieces[model.roles[role]];
      return piece === undefined ? [] : [[`${role}_token`, piece] as const];
    }),
  );
  const own = specialPieces((id) => pieces[id], kinds).filter(({ special }) => special);
  const { added, roles } = specialTokensOf(files, own, file, usual);
  const tokens = new AddedTokens(
    new Vocabulary(pieces.map((piece, id) => [piece, id] as const)),
    file,
  );
  tokens.add(own);
  tokens.add(added);
  const special = (role: PieceRole, wanted: unknown) => {
    const content = roles.get(`${role}_token`);
    const id = content === undefined ? undefined : tokens.idOf(content);
    return wanted === true && content !== undefined && id !== undefined
      ? { content, id }
      : undefined;
  };
  const strips = addDummyPrefix || model.normalizer.removeExtraWhitespaces;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...tokens.byId.values()].sort((a, b) => a.id - b.id),
    normalizer: {
      type: 'SentencePiece',
      precompiled_charsmap: model.normalizer.charsmap.toString('base64'),
      add_dummy_prefix: addDummyPrefix,
      prepend_scheme: legacy ? 'always' : 'first',
      remove_extra_whitespaces: model.normalizer.removeExtraWhitespaces,
      escape_whitespaces: model.normalizer.escapeWhitespaces,
      treat_whitespace_as_suffix: model.treatWhitespaceAsSuffix,
      user_defined_symbols: idsOfKind(kinds, pieceKind.userDefined).map((id) => pieces[id]),
    },
    pre_tokenizer: null,
    post_processor: surround(
      // Models with such a token expect it, and the tokenizer classes that read these files add it.
      special('bos', config.add_bos_token ?? true),
      special('eos', config.add_eos_token),
    ),
    decoder: pieceDecoder(strips),
    model: model.algorithm === 'BPE' ? bpeOf(model) : unigramOf(model),
  };
}

/** The pieces, renamed if other files give another name for an id. */
function renamed(
  pieces: readonly string[],
  { config, addedTokens }: TokenFiles,
): readonly string[] {
  const decoder = config?.added_tokens_decoder;
  const named = new Map<number, string>();
  for (const [id, token] of Object.entries(decoder ?? {})) {
    const content = tokenContent(token);
    if (content !== undefined) named.set(Number(id), content);
  }
  if (named.size === 0) {
    for (const [content, id] of Object.entries(addedTokens ?? {})) {
      if (isTokenId(id)) named.set(id, content);
    }
  }
  // Two pieces may change their names, but a name is never given twice.
  const kept = new Set(pieces.filter((_, id) => !named.has(id)));
  return pieces.map((piece, id) => {
    const name = named.get(id);
    return name === undefined || kept.has(name) ? piece : name;
  });
}

function idsOfKind(kinds: Uint8Array, kind: number): number[] {
  return Array.from(kinds.keys()).filter((id) => kinds[id] === kind);
}

function bpeOf(model: SentencePieceFile): Component {
  const { pieces, kinds, unknownId, byteFallback } = model;
  return pieceBpe(
    model,
    vocabularyOf(pieces, () => true),
    {
      unknown: pieces[unknownId] ?? null,
      byteFallback,
      userDefined: idsOfKind(kinds, pieceKind.userDefined),
    },
  );
}

/** How much lower than the lowest score of a piece the score of an unknown character is. */
const unknownPenalty = 10;
/**
 * The score of user-defined symbols, whatever the file says, for each byte except the first. Measured with
 * sentencepiece 0.2.3; it decides between splits with the same sum.
 */
const userDefinedScore = 0.1;

function unigramOf({
  pieces,
  scores,
  kinds,
  unknownId,
  byteFallback,
}: SentencePieceFile): Component {
  const { normal, userDefined } = pieceKind;
  const least = scores.reduce(
    (found, score, id) => (kinds[id] === normal ? Math.min(found, score) : found),
    Number.POSITIVE_INFINITY,
  );
  const isText = (id: number) => kinds[id] === normal || kinds[id] === userDefined;
  return {
    type: 'Unigram',
    unk_id: unknownId,
    byte_fallback: byteFallback,
    sentencepiece: {
      unreachable: Array.from(kinds.keys()).filter((id) => !isText(id)),
      unknown_score: Number.isFinite(least) ? Math.fround(least - unknownPenalty) : -unknownPenalty,
    },
    vocab: pieces.map((piece, id) => [
      piece,
      kinds[id] === userDefined
        ? Math.fround(userDefinedScore * (Buffer.byteLength(piece) - 1))
        : (scores[id] ?? 0),
    ]),
  };
}
