/** One open file of a checkpoint, read by range. Every failure names the file and the place. */

import type { FileHandle } from 'node:fs/promises';
import { FlashError, InputError, IoError } from '../errors.ts';
import { openRegular } from '../regular-file.ts';
import { assertNotLfsPointer, lfsPointerPrefix } from './lfs.ts';
import { PooledHandle } from './pooled-handle.ts';

/** What a format reader needs of a file. */
export interface RangeFile {
  readonly path: string;
  /** Size when it was opened, in bytes. */
  readonly size: number;
  /**
   * Fills `target` from byte `offset` on. `tensor` only names what is being read, for messages.
   * @throws InputError when the file ends before; IoError when reading fails.
   */
  read(offset: number, target: Uint8Array, tensor?: string): Promise<void>;
}

/** A file that stays open until nobody needs it. */
export interface OpenedFile extends RangeFile {
  close(): Promise<void>;
}

/** Opens the file at a path, be it here or elsewhere; throws as {@link CheckpointFile.open} does. */
export type OpenFile = (path: string) => Promise<OpenedFile>;

/** Longest single read in bytes: the system's own limit is 2 GiB less a page. */
const maxReadBytes = 2 ** 30;

/** What an error of the operating system says about the input: it cannot be used as it is. */
const unusable: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file',
  EISDIR: 'is a directory, not a file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  ELOOP: 'too many symbolic links',
  ENAMETOOLONG: 'the name is too long',
};

/**
 * Turns an error of the file system into one that names the file and says whose fault it is; what is
 * one already stays as it is.
 */
export function fileError(error: unknown, path: string, doing: string): FlashError {
  if (error instanceof FlashError) return error;
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? '';
  const message = unusable[code];
  if (message !== undefined) return new InputError(message, { file: path });
  const reason = error instanceof Error ? error.message : String(error);
  return new IoError(`${doing} failed: ${reason}`, { file: path }, undefined, { cause: error });
}

export class CheckpointFile implements OpenedFile {
  readonly path: string;
  readonly size: number;
  readonly #handle: PooledHandle;

  private constructor(path: string, size: number, handle: PooledHandle) {
    this.path = path;
    this.size = size;
    this.#handle = handle;
  }

  /**
   * @throws InputError when the file is missing, is no regular file, is empty, or is a git-LFS
   * pointer; IoError when opening fails for another reason.
   */
  static async open(path: string): Promise<CheckpointFile> {
    let handle: FileHandle;
    try {
      handle = await openRegular(path);
    } catch (error) {
      throw fileError(error, path, 'opening');
    }
    let pooled: PooledHandle | null = null;
    try {
      const { size } = await handle.stat();
      if (size === 0) throw new InputError('is empty', { file: path }, 'Download it again');
      pooled = await PooledHandle.of(path, handle, () => openRegular(path));
      const file = new CheckpointFile(path, size, pooled);
      const head = new Uint8Array(Math.min(lfsPointerPrefix.length, file.size));
      await file.read(0, head);
      assertNotLfsPointer(head, path);
      return file;
    } catch (error) {
      await (pooled ?? handle).close();
      throw fileError(error, path, 'opening');
    }
  }

  async read(offset: number, target: Uint8Array, tensor?: string): Promise<void> {
    const named = tensor === undefined ? {} : { tensor };
    for (let done = 0; done < target.byteLength; ) {
      const want = Math.min(target.byteLength - done, maxReadBytes);
      let got: number;
      try {
        const from = done;
        got = await this.#handle.use(
          async (handle) => (await handle.read(target, from, want, offset + from)).bytesRead,
        );
      } catch (error) {
        if (error instanceof InputError) throw error;
        const { message, place, hint } = fileError(error, this.path, 'reading');
        throw new IoError(message, { ...place, ...named, offset: offset + done }, hint, {
          cause: error,
        });
      }
      if (got === 0) {
        throw new InputError(
          `truncated: bytes ${offset} to ${offset + target.byteLength} are needed, the file ends at ${offset + done}`,
          { file: this.path, ...named, offset: offset + done },
          'Download the file again',
        );
      }
      done += got;
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** Opens a file of this machine. */
export const openLocal: OpenFile = (path) => CheckpointFile.open(path);
