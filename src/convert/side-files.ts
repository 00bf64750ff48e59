/** The small files of a model directory: configuration and tokenizer, as the checkpoint had them. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeNewFile } from '../aside.ts';
import { fileError } from '../checkpoint/file.ts';
import { brief, isJsonObject, parseJson } from '../checkpoint/json-file.ts';
import { InputError, writeError } from '../errors.ts';
import { crcHex } from '../flash/checksum.ts';
import { type StoredFile, sideFileNames } from '../flash/manifest.ts';
import type { ModelSpec } from '../models/spec.ts';
import { readRegular } from '../regular-file.ts';
import { readBpeFiles } from '../tokenizer/from-bpe-files.ts';
import { buildLibrary } from '../tokenizer/library.ts';
import { loadTokenizer } from '../tokenizer/tokenizer.ts';
import { isTokenId } from '../tokenizer/tokenizer-json.ts';

/** Content by name. */
export type SideFiles = ReadonlyMap<string, Uint8Array>;

/** Larger ones are not what their name says. */
const largestBytes = 256 * 1024 * 1024;

/**
 * What ends a sequence: generation_config.json says it where it is there, as for Hugging Face's
 * `generate`, else config.json.
 * @throws InputError when generation_config.json is not JSON or names no ids
 */
export function eosIdsOf(files: SideFiles, spec: ModelSpec, dir: string): readonly number[] {
  const name = 'generation_config.json';
  const bytes = files.get(name);
  if (bytes === undefined) return spec.eosIds;
  const file = join(dir, name);
  const config = parseJson(bytes, file);
  const found = isJsonObject(config) ? config.eos_token_id : undefined;
  if (found === undefined || found === null) return spec.eosIds;
  const ids: readonly unknown[] = Array.isArray(found) ? found : [found];
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
  for (const name of sideFileNames) {
    const path = join(dir, name);
    if ((await stat(path).catch(() => null)) === null) continue;
    const content = await readRegular(path, largestBytes).catch((error: unknown) => {
      throw fileError(error, path, 'reading');
    });
    files.set(name, content);
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
      await writeNewFile(path, data);
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
