/**
 * Files that are made: each is new, whatever may lie in wait at its name, readable by nobody else until
 * it is complete, and takes its place at once or not at all.
 */

import { constants, openSync, rmSync } from 'node:fs';
import { chmod, type FileHandle, lstat, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeMoveSystem, removeEntry, renameEntry } from './moving-files.ts';
import { ownedName, sweepBeside } from './owned.ts';
import { alignDown } from './units.ts';

/** For `open`: a link is not followed. Windows has no such flag. */
export const noFollow = (constants.O_NOFOLLOW as number | undefined) ?? 0;
/** Nothing that is there is opened, be it a file, a link, or a link to nowhere. */
const newFlags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | noFollow;
const ownerOnly = 0o600;
/** Of directories. */
export const ownerOnlyDirectory = 0o700;

/** Makes a new file for writing and reading; `flags` are added. Throws what the system says. */
export function createFile(path: string, flags = 0): Promise<FileHandle> {
  return open(path, newFlags | flags, ownerOnly);
}

/** The same in place of what is there; a link is replaced, not followed. */
export function recreateFileSync(path: string): number {
  rmSync(path, { force: true });
  return openSync(path, newFlags, ownerOnly);
}

/** Makes a new file of this content. */
export async function writeNewFile(path: string, content: Uint8Array | string): Promise<void> {
  const file = await createFile(path);
  try {
    await file.writeFile(content);
  } finally {
    await file.close();
  }
}

/**
 * Writes all of `data` at `position`: the system may take less at once.
 * @param alignment a direct write can only go on at a multiple of it; what lies beyond is written again
 */
export async function writeFully(
  file: FileHandle,
  data: Uint8Array,
  position: number,
  alignment = 1,
): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
    const progress = alignDown(bytesWritten, alignment);
    // A direct write that stops within a sector has met the end of the room.
    if (progress === 0) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    done += progress;
  }
}

/**
 * Makes a file beside `target`, has `write` fill it, and lets it take `target`'s place; on failure it is
 * removed, and what was there before is still there. What killed processes left of the same kind is
 * removed. Throws what `write` or the system says.
 */
export async function writeAside(
  target: string,
  write: (file: FileHandle) => Promise<void>,
  system = nodeMoveSystem,
): Promise<void> {
  await sweepBeside(target, ['partial']);
  const mode = await modeOf(target, 0o666);
  const path = ownedName(target, 'partial');
  const file = await createFile(path);
  try {
    try {
      await write(file);
      await file.chmod(mode).catch(() => {}); // not every file system has permissions
      await file.sync();
    } finally {
      await file.close();
    }
    await renameEntry(path, target, system);
  } catch (error) {
    await removeEntry(path, system);
    throw error;
  }
}

/**
 * Whether a file may take the place of what is at `target`: there is nothing, or a file. A device, a
 * pipe or a link (`/dev/stdout` is one) is what the user wants written to as it is.
 */
export async function isReplaceable(target: string): Promise<boolean> {
  const found = await lstat(target).catch(() => null);
  return found === null || found.isFile();
}

/** Permissions of what is at `target`; where there is nothing, those that a new file would have. */
export async function modeOf(target: string, fresh: number): Promise<number> {
  const found = await stat(target).catch(() => null);
  return found === null ? fresh & ~process.umask() : found.mode & 0o777;
}

/** Opens a finished directory of ours, and the files in it, to those who may see it. */
export async function openUp(dir: string, directoryMode: number): Promise<void> {
  const mode = (directoryMode & 0o666 & ~process.umask()) | ownerOnly;
  const paths = (await readdir(dir)).map((name) => join(dir, name));
  // Not every file system has permissions.
  for (const path of paths) await chmod(path, mode).catch(() => {});
  await chmod(dir, directoryMode | ownerOnlyDirectory).catch(() => {});
}

/**
 * Makes a file or a directory durable, where the system can.
 * @param openFile opens it; another one in tests
 */
export async function syncPath(
  path: string,
  platform = process.platform,
  openFile: (path: string, flags: string) => Promise<Pick<FileHandle, 'sync' | 'close'>> = open,
): Promise<void> {
  // Windows flushes only what is open for writing, and never a directory: there the rename has to do.
  const handle = await openFile(path, platform === 'win32' ? 'r+' : 'r').catch(() => null);
  if (handle === null) return;
  try {
    await handle.sync();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EPERM' && code !== 'EINVAL' && code !== 'EISDIR' && code !== 'EACCES')
      throw error;
  } finally {
    await handle.close();
  }
}
