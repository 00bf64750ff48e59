/**
 * Creates files safely: each file is new, whatever already exists at its name; no other user can read it
 * until it is complete; and it takes its place atomically or not at all.
 */

import { constants, openSync, rmSync } from 'node:fs';
import { chmod, type FileHandle, lstat, open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { nodeMoveSystem, removeEntry, renameEntry } from './moving-files.ts';
import { ownedName, sweepBeside } from './owned.ts';
import { alignDown } from './units.ts';

/** Flag for `open`: links are not followed. Windows has no such flag. */
export const noFollow = (constants.O_NOFOLLOW as number | undefined) ?? 0;
/** Nothing that already exists is opened, be it a file, a link, or a dangling link. */
const newFlags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | noFollow;
const ownerOnly = 0o600;
/** Permissions of directories. */
export const ownerOnlyDirectory = 0o700;

/** Creates a new file for writing and reading; `flags` are added. Throws the system's error. */
export function createFile(path: string, flags = 0): Promise<FileHandle> {
  return open(path, newFlags | flags, ownerOnly);
}

/** The same, but replaces what is there; a link is replaced, not followed. */
export function recreateFileSync(path: string): number {
  rmSync(path, { force: true });
  return openSync(path, newFlags, ownerOnly);
}

/**
 * Creates a new file with this content.
 * @param durable whether to wait until it is on the device
 */
export async function writeNewFile(
  path: string,
  content: Uint8Array | string,
  { durable = false } = {},
): Promise<void> {
  const file = await createFile(path);
  try {
    await file.writeFile(content);
    if (durable) await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Writes all of `data` at `position`: one system call may write only a part.
 * @param alignment a direct write can only continue at a multiple of it; the bytes beyond the last multiple
 * are written again
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
    // A direct write that stops within a sector has reached the end of the free space.
    if (progress === 0) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    done += progress;
  }
}

/**
 * Creates a file beside `target`, has `write` fill it, and renames it to `target`. On failure the new file
 * is removed and the old `target` is unchanged. Files of the same kind that killed processes left behind
 * are removed. Throws the error of `write` or of the system.
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
 * Whether a new file may replace what is at `target`: true for a file, or if nothing is there. With a
 * device, a pipe or a link (such as `/dev/stdout`), the user wants to write to the thing itself.
 */
export async function isReplaceable(target: string): Promise<boolean> {
  const found = await lstat(target).catch(() => null);
  return found === null || found.isFile();
}

/** Permissions of what is at `target`; if nothing is there, those that a new file would get. */
export async function modeOf(target: string, fresh: number): Promise<number> {
  const found = await stat(target).catch(() => null);
  return found === null ? fresh & ~process.umask() : found.mode & 0o777;
}

/**
 * Gives a finished directory of ours, and the files in it, their usual permissions, so that other users may
 * read them.
 */
export async function openUp(dir: string, directoryMode: number): Promise<void> {
  const mode = (directoryMode & 0o666 & ~process.umask()) | ownerOnly;
  const paths = (await readdir(dir)).map((name) => join(dir, name));
  // Not every file system has permissions.
  for (const path of paths) await chmod(path, mode).catch(() => {});
  await chmod(dir, directoryMode | ownerOnlyDirectory).catch(() => {});
}

/**
 * Makes a file or a directory durable, where the system can.
 * @param openFile opens it; tests pass another function
 */
export async function syncPath(
  path: string,
  platform = process.platform,
  openFile: (path: string, flags: string) => Promise<Pick<FileHandle, 'sync' | 'close'>> = open,
): Promise<void> {
  // Windows flushes only files that are open for writing, and never a directory: there the rename alone
  // must suffice.
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
