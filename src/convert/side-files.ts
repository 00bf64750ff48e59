/** The small files of a model directory: configuration and tokenizer, as the checkpoint had them. */

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeNewFile } from '../aside.ts';
import { fileError } from '../checkpoint/file.ts';
import { brief, isJsonObject, JsonExcessError, parseJson } from '../checkpoint/json-file.ts';
import { InputError, writeError } from '../errors.ts';
import { crcHex } from '../flash/checksum.ts';
import {
  type StoredFile,
  sideFileNames,
  storedTemplateName,
  templateDirectory,
  templateNameOf,
} from '../flash/manifest.ts';
import { tokenIds } from '../models/config.ts';
import type { ModelSpec } from '../models/spec.ts';
import { readRegular } from '../regular-file.ts';
import { type EndToken, endTokensOf } from '../tokenizer/end-tokens.ts';
import { readBpeFiles } from '../tokenizer/from-bpe-files.ts';
import { readSentencePiece } from '../tokenizer/sentencepiece/from-model-file.ts';
import { sentencePieceFile } from '../tokenizer/sentencepiece/model-file.ts';
import { tokenizerFile, writeTokenCache } from '../tokenizer/token-cache.ts';
import { exists } from '../tokenizer/token-files.ts';
import {
  type BuiltTokenizer,
  buildTokenizer,
  type MadeTokenizer,
  type Tokenizer,
} from '../tokenizer/tokenizer.ts';

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
  /** What is kept beside tokenizer.json. */
  readonly kept: BuiltTokenizer['kept'];
  /** Oddities that do not prevent running, one line each. */
  readonly notes: readonly string[];
}

/** In bytes; a larger file is not what its name says. */
export const largestSideFile = 256 * 1024 * 1024;

const generationConfig = 'generation_config.json';

/**
 * `files` without a generation_config.json that is not JSON (an empty one, for example): transformers
 * ignores such a file, so config.json alone names the end tokens.
 * @returns the files, and the reason if one is left out
 */
function usableSideFiles(
  files: SideFiles,
  dir: string,
): { readonly files: SideFiles; readonly reason: string | null } {
  const bytes = files.get(generationConfig);
  if (bytes === undefined) return { files, reason: null };
  try {
    parseJson(bytes, join(dir, generationConfig));
    return { files, reason: null };
  } catch (error) {
    if (!(error instanceof InputError) || error instanceof JsonExcessError) throw error;
    const others = [...files].filter(([name]) => name !== generationConfig);
    return {
      files: new Map(others),
      reason: `${generationConfig} ${error.message}: ignored, as in transformers`,
    };
  }
}

/**
 * The end tokens: from generation_config.json if it exists, as for Hugging Face's `generate`, else from
 * config.json.
 * @throws InputError when generation_config.json is not a JSON object or names no ids
 */
export function eosIdsOf(files: SideFiles, spec: ModelSpec, dir: string): readonly number[] {
  const bytes = files.get(generationConfig);
  if (bytes === undefined) return spec.eosIds;
  const file = join(dir, generationConfig);
  const config = parseJson(bytes, file);
  if (!isJsonObject(config)) throw new InputError('is not a JSON object', { file });
  const found = config.eos_token_id;
  if (found === undefined || found === null) return spec.eosIds;
  return tokenIds({ config: { eos_token_id: found }, file }, 'eos_token_id', []);
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
  return {
    files,
    eosIds,
    endTokens: endTokensOf(tokenizer),
    kept,
    notes: tokensWithoutRow(tokenizer, vocabSize),
  };
}

/**
 * Reads the side files of a checkpoint; creates a tokenizer.json where only BPE files exist. Checks that
 * the tokenizer works.
 * @throws InputError when a file cannot be used
 */
export async function readSideFiles(dir: string, spec: ModelSpec): Promise<SideContent> {
  const files = new Map<string, Uint8Array>();
  for (const name of sideFileNames) {
    const path = join(dir, name);
    if ((await stat(path).catch(() => null)) === null) continue;
    files.set(name, await sideFile(path));
  }
  for (const [name, path] of await templateFiles(dir)) files.set(name, await sideFile(path));
  const { files: usable, reason } = usableSideFiles(files, dir);
  const model = { ...spec, eosIds: [...eosIdsOf(usable, spec, dir)] };
  const content = (all: SideFiles, built: BuiltTokenizer): SideContent => {
    const found = sideContent(all, built, model);
    return { ...found, notes: [...(reason === null ? [] : [reason]), ...found.notes] };
  };
  if (usable.has(tokenizerFile)) return content(usable, await buildTokenizer(dir, model));
  const made = await madeTokenizer(dir, usable);
  if (made !== null) {
    const all = new Map([...usable, [tokenizerFile, Buffer.from(JSON.stringify(made.json))]]);
    return content(all, await buildTokenizer(dir, model, made));
  }
  throw new InputError(
    'no tokenizer: neither tokenizer.json nor vocab.json with merges.txt nor tokenizer.model',
    { file: dir },
    "Add the model's tokenizer files",
  );
}

function sideFile(path: string): Promise<Uint8Array> {
  return readRegular(path, largestSideFile).catch((error: unknown) => {
    throw fileError(error, path, 'reading');
  });
}

/** An upper bound on the chat templates of a model. */
const mostTemplates = 64;

/**
 * Paths of the named chat templates, by their file names in a model directory: those in
 * `additional_chat_templates`, and those that a download put beside the other files.
 */
async function templateFiles(dir: string): Promise<ReadonlyMap<string, string>> {
  const listed = async (folder: string) => (await readdir(folder).catch(() => [])).sort();
  const folder = join(dir, templateDirectory);
  const found = new Map<string, string>();
  for (const name of await listed(dir)) {
    if (templateNameOf(name) !== null) found.set(name, join(dir, name));
  }
  for (const name of await listed(folder)) {
    const stored = storedTemplateName(name);
    if (stored !== null) found.set(stored, join(folder, name));
  }
  return new Map([...found].slice(0, mostTemplates));
}

/** The tokenizer.json that is built from a checkpoint's other files; null where there are none. */
async function madeTokenizer(dir: string, files: SideFiles): Promise<MadeTokenizer | null> {
  if (files.has('vocab.json') && files.has('merges.txt')) {
    return { json: await readBpeFiles(dir), file: join(dir, 'vocab.json') };
  }
  const file = join(dir, sentencePieceFile);
  return (await exists(file)) ? { json: await readSentencePiece(dir), file } : null;
}

/** Writes the side files into the model directory, and the data derived from tokenizer.json beside it. */
export async function writeSideFiles(
  { files, kept }: Pick<SideContent, 'files' | 'kept'>,
  target: string,
): Promise<Record<string, StoredFile>> {
  const stored: Record<string, StoredFile> = {};
  for (const [name, data] of files) {
    const path = join(target, name);
    try {
      await writeNewFile(path, data);
    } catch (cause) {
      throw writeError(cause, path);
    }
    stored[name] = { bytes: data.length, crc32: crcHex(data) };
  }
  const tokenizer = stored[tokenizerFile];
  if (kept !== null && tokenizer !== undefined) await writeTokenCache(target, tokenizer, kept);
  return stored;
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
