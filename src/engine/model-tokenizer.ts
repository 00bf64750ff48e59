/** The tokenizer of a converted model, from what was kept of it the last time. */

import { join } from 'node:path';
import { parseJson } from '../checkpoint/json-file.ts';
import type { Manifest } from '../flash/manifest.ts';
import { readRegular } from '../regular-file.ts';
import { readTokenCache, tokenizerFile, writeTokenCache } from '../tokenizer/token-cache.ts';
import { readTokenFiles } from '../tokenizer/token-files.ts';
import { loadTokenizer, pipelineTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts';
import { checkTokenizerJson } from '../tokenizer/tokenizer-json.ts';

/**
 * Opens the tokenizer of the model in `dir`; what it takes time to make of tokenizer.json is kept there.
 * The files have been checked.
 * @throws InputError when tokenizer.json is of a kind that is unsupported
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
