/** Opens checkpoints; the readers of a format are loaded when a checkpoint has it. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../checkpoint/file.ts';
import { InputError } from '../errors.ts';
import { manifestFile } from '../flash/manifest.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { SideFileMaker } from './side-file-maker.ts';

/**
 * Opens a Hugging Face directory or a GGUF file; close its source when done.
 * @param makeSideFiles makes the side files of a GGUF file; on this thread by default
 * @throws InputError when it cannot be used
 */
export async function openCheckpoint(
  path: string,
  makeSideFiles?: SideFileMaker,
): Promise<Checkpoint> {
  const found = await stat(path).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    // If the path does not exist, the directory's reader reports it.
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw fileError(error, path, 'opening');
  });
  if (found === null && /\.gguf$/i.test(path)) throw new InputError('no such file', { file: path });
  if (found?.isDirectory() && (await stat(join(path, manifestFile)).catch(() => null)) !== null) {
    throw new InputError(
      'is a model directory: it is converted already',
      { file: path },
      'Give the checkpoint that it was made from',
    );
  }
  if (found?.isFile()) {
    const { openGgufCheckpoint } = await import('./gguf-checkpoint.ts');
    return openGgufCheckpoint(path, undefined, makeSideFiles);
  }
  const { openDirectory } = await import('./directory-checkpoint.ts');
  return openDirectory(path);
}
