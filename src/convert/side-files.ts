/** The small files of a Hugging Face checkpoint: configuration and tokenizer. */

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../checkpoint/file.ts';
import { isJsonObject, JsonExcessError, parseJson } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import {
  sideFileNames,
  storedTemplateName,
  templateDirectory,
  templateNameOf,
} from '../flash/manifest.ts';
import { tokenIds } from '../models/config.ts';
import type { ModelSpec } from '../models/spec.ts';
import { readRegular } from '../regular-file.ts';
import { readBpeFiles } from '../tokenizer/from-bpe-files.ts';
import { readSentencePiece } from '../tokenizer/sentencepiece/from-model-file.ts';
import { sentencePieceFile } from '../tokenizer/sentencepiece/model-file.ts';
import { exists, tokenizerFile } from '../tokenizer/token-files.ts';
import { type BuiltTokenizer, buildTokenizer, type MadeTokenizer } from '../tokenizer/tokenizer.ts';
import { type SideContent, type SideFiles, sideContent } from './side-content.ts';

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
