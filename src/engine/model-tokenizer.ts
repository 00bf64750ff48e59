/** The tokenizer of a converted model, with a cache of its tables in the model directory. */

import { join } from 'node:path';
import { parseJson } from '../checkpoint/json-file.ts';
import type { Manifest } from '../flash/manifest.ts';
import { readRegular } from '../regular-file.ts';
import { readTokenCache, writeTokenCache } from '../tokenizer/token-cache.ts';
import { readTokenFiles, tokenizerFile } from '../tokenizer/token-files.ts';
import { loadTokenizer, pipelineTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { checkTokenizerJson } from '../tokenizer/tokenizer-json.ts';

/**
 * Opens the tokenizer of the model in `dir`, whose files have been checked. Tables that take time to build
 * from tokenizer.json are kept in the directory.
 * @throws InputError when the kind of tokenizer in tokenizer.json is unsupported
 */
export async function openTokenizer(dir: string, { spec, files }: Manifest): Promise<Tokenizer> {
  const stored = files[tokenizerFile];
  if (stored === undefined) return loadTokenizer(dir, spec);
  const path = join(dir, tokenizerFile);
  const others = await readTokenFiles(dir);
  const kept = await readTokenCache(dir, stored);
  if (kept !== null) {
    const { json, tables } = kept;
    return pipelineTokenizer({ json, file: path, files: others, ready: tables }, spec).tokenizer;
  }
  const bytes = await readRegular(path, stored.bytes);
  const json = checkTokenizerJson(parseJson(bytes, path), path);
  const { tokenizer, kept: made } = pipelineTokenizer({ json, file: path, files: others }, spec);
  if (made !== null) await writeTokenCache(dir, stored, made);
  return tokenizer;
}
