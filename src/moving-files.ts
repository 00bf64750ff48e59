/**
 * Renaming and removing. On Windows, neither works while a program has a file open that does not share
 * it, and virus scanners, indexers and backups do so for moments with whatever is new: what fails for
 * that reason is tried again for some seconds. Elsewhere the same errors are final.
 */

import { lstat, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InputError } from './errors.ts';

/** The part of the operating system that moving needs; tests put another one in its place. */
export interface MoveSystem {
  readonly platform: NodeJS.Platform;
  rename(from: string, to: string): Promise<void>;
  /** Removes an entry and what is in it; nothing there is no error. */
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

/** What Windows answers while somebody else has an entry, or one in it, open. */
const passing = new Set(['EACCES', 'EBUSY', 'EPERM', 'ENOTEMPTY']);
/** Pauses between attempts, in milliseconds; each is twice the one before. */
const [firstPause, longestPause] = [10, 1280];

/** Gives the entry at `from` the name `to`, in place of a file of that name. Throws what the system says. */
export function renameEntry(from: string, to: string, system = nodeMoveSystem): Promise<void> {
  return patiently(() => system.rename(from, to), system);
}

/** Removes the entry at `path` with all that is in it, if there is one. Throws what the system says. */
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
 * Checks that another directory can take the place of the one at `place`, if there is one.
 * @throws InputError when it is a mount point, which no system renames
 */
export async function checkMovable(place: string): Promise<void> {
  const parent = dirname(place);
  const [found, above] = await Promise.all(
    [place, parent].map((at) => lstat(at).catch(() => null)),
  );
  if (found == null || above == null) return;
  if (found.dev === above.dev && parent !== place) return;
  throw new InputError(
    'is a mount point, so no other directory can take its place',
    { file: place },
    'Choose a directory within it',
  );
}
