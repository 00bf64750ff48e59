/** The small files of a model directory: configuration, tokenizer, chat templates. */

import { brief } from '../checkpoint/json-file.ts';
import { storedFile } from '../flash/manifest.ts';
import type { ModelSpec } from '../models/spec.ts';
import { type EndToken, endTokensOf } from '../tokenizer/end-tokens.ts';
import { tokenCacheBytes } from '../tokenizer/token-cache.ts';
import { tokenizerFile } from '../tokenizer/token-files.ts';
import type { BuiltTokenizer, Tokenizer } from '../tokenizer/tokenizer.ts';

/** Content by name. */
export type SideFiles = ReadonlyMap<string, Uint8Array>;

/** The side files, and what they say about tokens. */
export interface SideContent {
  readonly files: SideFiles;
  /** The end tokens that the configuration names. */
  readonly eosIds: readonly number[];
  /**
   * The end tokens when the model runs: these, the tokenizer's own, and tokens with the name of an end
   * token.
   */
  readonly endTokens: readonly EndToken[];
  /** Makes the content of tokenizer.cache; null if there is nothing worth storing. */
  readonly cache: (() => Uint8Array) | null;
  /** Oddities that do not prevent running, one line each. */
  readonly notes: readonly string[];
}

/**
 * The side files with what they say about tokens, according to the tokenizer that is built from them.
 * @throws InputError when a token that is added to every text has no row in the embedding: the model could
 * run no text
 */
export function sideContent(
  files: SideFiles,
  { tokenizer, kept }: BuiltTokenizer,
  { eosIds, vocabSize }: Pick<ModelSpec, 'eosIds' | 'vocabSize'>,
): SideContent {
  tokenizer.checkIds(tokenizer.around);
  const json = files.get(tokenizerFile);
  return {
    files,
    eosIds,
    endTokens: endTokensOf(tokenizer),
    cache: kept && json ? () => tokenCacheBytes(storedFile(json), kept) : null,
    notes: tokensWithoutRow(tokenizer, vocabSize),
  };
}

/**
 * Reports a tokenizer with more tokens than the embedding has rows, such as that of a fine-tuned model to
 * which a padding token was added: the model runs, except on a text with such a token.
 */
function tokensWithoutRow(tokenizer: Tokenizer, rows: number): readonly string[] {
  const { vocabularySize } = tokenizer;
  const ids: number[] = [];
  for (let id = rows; id < vocabularySize; id++) if (!tokenizer.isSilent(id)) ids.push(id);
  const [first] = ids;
  if (first === undefined) return [];
  const name = `${brief(tokenizer.decode([first]))} (id ${first})`;
  const which = ids.length === 1 ? name : `one of ${ids.length}, ${name} the first,`;
  // Nobody adds ordinary words to a tokenizer without adding rows for them.
  const foreign = ids.every((id) => tokenizer.isAdded(id))
    ? ''
    : '; the tokenizer may belong to another model';
  return [
    `the tokenizer has ${vocabularySize} tokens, the model's embedding ${rows} rows: ` +
      `a text with ${which} will be refused${foreign}`,
  ];
}
