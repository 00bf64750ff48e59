/**
 * Input files: only regular files are accepted. Opening a FIFO blocks until another process writes to it; a
 * device may never end, or may act when it is opened. Symbolic links to files count as files.
 */

import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { InputError } from './errors.ts';

/**
 * Flags for reading without blocking, even if the path now leads to something else than it did a moment
 * ago. Windows has no such flag, and no FIFOs among its files.
 */
export const readFlags = constants.O_RDONLY | ((constants.O_NONBLOCK as number | undefined) ?? 0);

/** @throws InputError that says what is at `path` instead of a regular file */
export function assertRegular(stats: Stats, path: string): void {
  if (stats.isFile()) return;
  const kind = stats.isDirectory()
    ? 'directory'
    : stats.isFIFO()
      ? 'FIFO'
      : stats.isSocket()
        ? 'socket'
        : 'device';
  throw new InputError(`is a ${kind}, not a file`, { file: path });
}

/**
 * Opens the regular file at `path` for reading.
 * @throws InputError when it is something else; the system's error when it cannot be opened
 */
export async function openRegular(path: string): Promise<FileHandle> {
  assertRegular(await stat(path), path);
  const handle = await open(path, readFlags);
  try {
    assertRegular(await handle.stat(), path);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * The content of the regular file at `path`.
 * @param longest bytes; a longer file is not read
 * @throws InputError when it is too long or not a regular file; the system's error when it cannot be read
 */
export async function readRegular(path: string, longest: number): Promise<Buffer> {
  const handle = await openRegular(path);
  try {
    const { size } = await handle.stat();
    if (size > longest) {
      throw new InputError(`has ${size} bytes; at most ${longest} are read`, { file: path });
    }
    const content = Buffer.alloc(size);
    return content.subarray(0, await readInto(content, handle, 0));
  } finally {
    await handle.close();
  }
}

/**
 * Fills a buffer from a file, from byte `at` on.
 * @returns the number of bytes read: fewer where the file ends before the buffer is full
 */
export async function readInto(to: Uint8Array, handle: FileHandle, at: number): Promise<number> {
  let done = 0;
  while (done < to.length) {
    const { bytesRead } = await handle.read(to, done, to.length - done, at + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/**
 * Calls `use` with each piece of the content of the regular file at `path`; a piece is valid until the next
 * call.
 */
export async function eachPiece(path: string, use: (piece: Uint8Array) => void): Promise<void> {
  const handle = await openRegular(path);
  try {
    const piece = Buffer.alloc(pieceBytes);
    for (let at = 0; ; ) {
      const { bytesRead } = await handle.read(piece, 0, pieceBytes, at);
      if (bytesRead === 0) return;
      use(piece.subarray(0, bytesRead));
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

const pieceBytes = 256 * 1024;
