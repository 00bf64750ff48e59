/** Writes the small files of a model directory. */

import { join } from 'node:path';
import { writeNewFile } from '../aside.ts';
import { writeError } from '../errors.ts';
import { type StoredFile, storedFile } from '../flash/manifest.ts';
import { tokenCacheFile } from '../tokenizer/token-files.ts';
import type { SideContent } from './side-content.ts';

/** Writes the side files into the model directory, and the data derived from tokenizer.json beside it. */
export async function writeSideFiles(
  { files, cache }: Pick<SideContent, 'files' | 'cache'>,
  target: string,
): Promise<Record<string, StoredFile>> {
  const stored: Record<string, StoredFile> = {};
  for (const [name, data] of files) {
    await writeDurably(join(target, name), data);
    stored[name] = storedFile(data);
  }
  if (cache !== null) await writeDurably(join(target, tokenCacheFile), cache());
  return stored;
}

/** Writes a new file to the device now, while the weights are still being read. */
async function writeDurably(path: string, data: Uint8Array): Promise<void> {
  try {
    await writeNewFile(path, data, { durable: true });
  } catch (cause) {
    throw writeError(cause, path);
  }
}
