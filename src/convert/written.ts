/**
 * The end of a conversion: writes the manifest and checks that the model opens, before it takes its place.
 */

import { join } from 'node:path';
import { writeNewFile } from '../aside.ts';
import { FlashError, InputError, writeError } from '../errors.ts';
import { formatManifest, type Manifest, manifestFile } from '../flash/manifest.ts';
import { ModelFiles } from '../flash/model-files.ts';

/** Writes flash.json into `dir`, the last of its files. */
export async function writeManifest(dir: string, manifest: Manifest): Promise<void> {
  const path = join(dir, manifestFile);
  try {
    await writeNewFile(path, formatManifest(manifest));
  } catch (cause) {
    throw writeError(cause, path);
  }
}

/**
 * Opens the written model in the way in which it will be opened later.
 * @throws FlashError when that fails: then the model must not replace another one
 */
export async function checkWritten(dir: string): Promise<void> {
  try {
    (await ModelFiles.open(dir, { predictors: false })).close();
  } catch (cause) {
    if (!(cause instanceof InputError)) throw cause;
    throw new FlashError(
      `the written model cannot be opened: ${cause.message}`,
      cause.place,
      'This is a bug in flashllm; no model was written',
      { cause },
    );
  }
}
