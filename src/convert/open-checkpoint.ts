/** Opens checkpoints; the readers of a format are loaded when a checkpoint has it. */

import { stat } from 'node:fs/promises';
import { fileError } from '../checkpoint/file.ts';
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
  if (found?.isFile()) {
    const { openGgufCheckpoint } = await import('./gguf-checkpoint.ts');
    return openGgufCheckpoint(path, undefined, makeSideFiles);
  }
  const { openDirectory } = await import('./directory-checkpoint.ts');
  return openDirectory(path);
}
