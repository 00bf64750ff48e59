/** The end of a conversion: the manifest, and whether the model opens, before it takes its place. */

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
 * Opens the model that was written, as it will be opened from now on.
 * @throws FlashError when it cannot be: then it must not take the place of another one
 */
export async function checkWritten(dir: string): Promise<void> {
  try {
    (await ModelFiles.open(dir, { predictors: false })).close();
  } catch (cause) {
    if (!(cause instanceof InputError)) throw cause;
    throw new FlashError(
      `the model that was written cannot be opened: ${cause.message}`,
      cause.place,
      'This is a bug in flashllm; no model was written',
      { cause },
    );
  }
}
