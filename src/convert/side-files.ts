/** The small files of a model directory: configuration and tokenizer, as the checkpoint had them. */

import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brief, isJsonObject, parseJson } from '../checkpoint/json-file.ts';
import { InputError, writeError } from '../errors.ts';
import { crcHex } from '../flash/checksum.ts';
import type { StoredFile } from '../flash/manifest.ts';
import type { ModelSpec } from '../models/spec.ts';
import { readBpeFiles } from '../tokenizer/from-bpe-files.ts';
import { buildLibrary } from '../tokenizer/library.ts';
import { loadTokenizer } from '../tokenizer/tokenizer.ts';
import { isTokenId } from '../tokenizer/tokenizer-json.ts';

const copied = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
];

/** Content by name. */
export type SideFiles = ReadonlyMap<string, Uint8Array>;

/** Larger ones are not what their name says. */
const largestBytes = 256 * 1024 * 1024;

const generationConfig = 'generation_config.json';

/**
 * `files` without a generation_config.json that is no JSON, empty for example: transformers passes over
 * such a file, and so config.json alone says what ends a sequence.
 * @returns the files, and the reason why one is left out
 */
export function usableSideFiles(
  files: SideFiles,
  dir: string,
): { readonly files: SideFiles; readonly reason: string | null } {
  const bytes = files.get(generationConfig);
  if (bytes === undefined) return { files, reason: null };
  try {
    parseJson(bytes, join(dir, generationConfig));
    return { files, reason: null };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const others = [...files].filter(([name]) => name !== generationConfig);
    return { files: new Map(others), reason: `${generationConfig} ${error.message}` };
  }
}

/**
 * What ends a sequence: generation_config.json says it where it is there, as for Hugging Face's
 * `generate`, else config.json.
 * @throws InputError when generation_config.json is no JSON object or names no ids
 */
export function eosIdsOf(files: SideFiles, spec: ModelSpec, dir: string): readonly number[] {
  const bytes = files.get(generationConfig);
  if (bytes === undefined) return spec.eosIds;
  const file = join(dir, generationConfig);
  const config = parseJson(bytes, file);
  if (!isJsonObject(config)) throw new InputError('is not a JSON object', { file });
  const found = config.eos_token_id;
  if (found === undefined || found === null) return spec.eosIds;
  // -1 is written where there is none.
  const ids = [found].flat().filter((id: unknown) => id !== -1);
  if (!ids.every(isTokenId)) {
    throw new InputError(`'eos_token_id' names no ids: ${brief(found)}`, { file });
  }
  return ids;
}

/**
 * Reads the side files of a checkpoint; makes a tokenizer.json where only BPE files exist. Proves
 * that the tokenizer works and belongs to the model.
 * @throws InputError when a file is not usable
 */
export async function readSideFiles(dir: string, spec: ModelSpec): Promise<SideFiles> {
  const files = new Map<string, Uint8Array>();
  for (const name of copied) {
    const path = join(dir, name);
    const found = await stat(path).catch(() => null);
    if (found === null || !found.isFile()) continue;
    if (found.size > largestBytes) {
      throw new InputError(`is too large (${found.size} bytes)`, { file: path });
    }
    files.set(name, await readFile(path));
  }
  if (files.has('tokenizer.json')) {
    const { vocabularySize } = await loadTokenizer(dir, spec);
    checkVocabularySize([vocabularySize - 1], spec.vocabSize, dir);
  } else if (files.has('vocab.json') && files.has('merges.txt')) {
    const made = await readBpeFiles(dir);
    files.set('tokenizer.json', Buffer.from(JSON.stringify(made)));
    const library = buildLibrary(made, {}, join(dir, 'vocab.json'));
    checkVocabularySize(library.model.tokens_to_ids.values(), spec.vocabSize, dir);
  } else {
    throw new InputError(
      'no tokenizer: neither tokenizer.json nor vocab.json with merges.txt',
      { file: dir },
      "Add the model's tokenizer files",
    );
  }
  return files;
}

/** Writes the side files into the model directory. */
export async function writeSideFiles(
  files: SideFiles,
  target: string,
): Promise<Record<string, StoredFile>> {
  const stored: Record<string, StoredFile> = {};
  for (const [name, data] of files) {
    const path = join(target, name);
    try {
      await writeFile(path, data, { flag: 'wx' });
    } catch (cause) {
      throw writeError(cause, path);
    }
    stored[name] = { bytes: data.length, crc32: crcHex(data) };
  }
  return stored;
}

/**
 * Holds a tokenizer's ids against the rows of the embedding.
 * @throws InputError when one has no row
 */
export function checkVocabularySize(ids: Iterable<number>, rows: number, file: string): void {
  let tokens = 0;
  for (const id of ids) tokens = Math.max(tokens, id + 1);
  if (tokens <= rows) return;
  throw new InputError(
    `the tokenizer has ${tokens} tokens, the model's embedding ${rows}`,
    { file },
    'The tokenizer belongs to another model',
  );
}
