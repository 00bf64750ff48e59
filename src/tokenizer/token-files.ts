/** Reads the files beside a tokenizer.json that name tokens. */

import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { isJsonObject, readJsonFile } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import type { TokenFiles } from './special-tokens.ts';

export const tokenizerFile = 'tokenizer.json';
/** The tables of tokenizer.json in their final form; see token-cache.ts. */
export const tokenCacheFile = 'tokenizer.cache';

/**
 * The token files of a directory.
 * @throws InputError when one is not JSON or not an object
 */
export async function readTokenFiles(dir: string): Promise<TokenFiles> {
  const read = (name: string) => readOptionalObject(join(dir, name));
  return {
    config: await read('tokenizer_config.json'),
    tokensMap: await read('special_tokens_map.json'),
    addedTokens: await read('added_tokens.json'),
  };
}

/**
 * The object in an optional JSON file; undefined when there is no such file.
 * @throws InputError when it is not JSON or not an object
 */
export async function readOptionalObject(
  file: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (!(await exists(file))) return undefined;
  const json = await readJsonFile(file);
  if (!isJsonObject(json)) throw new InputError('is not a JSON object', { file });
  return json;
}

export async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
