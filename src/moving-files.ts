/**
 * Renaming and removing files. On Windows, neither works while a program has a file open without sharing
 * it, and virus scanners, indexers and backups briefly do that with every new file: an operation that fails
 * for this reason is retried for some seconds. On other systems the same errors are final.
 */

import { lstat, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InputError } from './errors.ts';

/** The operating system calls that this file needs; tests replace them. */
export interface MoveSystem {
  readonly platform: NodeJS.Platform;
  rename(from: string, to: string): Promise<void>;
  /** Removes an entry and its content; a missing entry is not an error. */
  remove(path: string): Promise<void>;
  /** Waits for some milliseconds. */
  pause(ms: number): Promise<unknown>;
}

export const nodeMoveSystem: MoveSystem = {
  platform: process.platform,
  rename,
  remove: (path) => rm(path, { recursive: true, force: true }),
  pause: (ms) => sleep(ms),
};

/** Error codes of Windows while another program has an entry, or one inside it, open. */
const passing = new Set(['EACCES', 'EBUSY', 'EPERM', 'ENOTEMPTY']);
/** Pauses between attempts, in milliseconds; each is twice the one before. */
const [firstPause, longestPause] = [10, 1280];

/** Gives the entry at `from` the name `to`, replacing a file of that name. Throws the system's error. */
export function renameEntry(from: string, to: string, system = nodeMoveSystem): Promise<void> {
  return patiently(() => system.rename(from, to), system);
}

/** Removes the entry at `path` with its content, if there is one. Throws the system's error. */
export function removeEntry(path: string, system = nodeMoveSystem): Promise<void> {
  return patiently(() => system.remove(path), system);
}

async function patiently(work: () => Promise<void>, system: MoveSystem): Promise<void> {
  for (let pause = firstPause; ; pause *= 2) {
    try {
      return await work();
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (system.platform !== 'win32' || !passing.has(code) || pause > longestPause) throw error;
    }
    await system.pause(pause);
  }
}

/**
 * Checks that another directory can replace the one at `place`, if there is one.
 * @throws InputError when it is a mount point, which cannot be renamed on any system
 */
export async function checkMovable(place: string): Promise<void> {
  const parent = dirname(place);
  const [found, above] = await Promise.all(
    [place, parent].map((at) => lstat(at).catch(() => null)),
  );
  if (found == null || above == null) return;
  if (found.dev === above.dev && parent !== place) return;
  throw new InputError(
    'is a mount point, so it cannot be replaced by another directory',
    { file: place },
    'Choose a directory inside it',
  );
}
