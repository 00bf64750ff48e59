/** One open file of a checkpoint, read by range. Every error names the file and the place. */

import type { FileHandle } from 'node:fs/promises';
import { FlashError, InputError, IoError } from '../errors.ts';
import { openRegular } from '../regular-file.ts';
import { assertNotLfsPointer, lfsPointerPrefix } from './lfs.ts';
import { PooledHandle } from './pooled-handle.ts';

/** What a format reader needs from a file. */
export interface RangeFile {
  readonly path: string;
  /** Size when it was opened, in bytes. */
  readonly size: number;
  /**
   * Fills `target` from byte `offset` on. `tensor` is the name of what is being read, for messages.
   * @throws InputError when the file ends too early; IoError when reading fails.
   */
  read(offset: number, target: Uint8Array, tensor?: string): Promise<void>;
}

/** A file that stays open until it is closed. */
export interface OpenedFile extends RangeFile {
  close(): Promise<void>;
}

/** Opens the file at a path, local or remote; throws the errors of {@link CheckpointFile.open}. */
export type OpenFile = (path: string) => Promise<OpenedFile>;

/** Longest single read in bytes: the system's own limit is 2 GiB less a page. */
const maxReadBytes = 2 ** 30;

/** Error codes of the operating system that mean unusable input, and the words for each. */
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
 * Turns a file system error into one that names the file and distinguishes unusable input from a failure of
 * the system; a FlashError is returned unchanged.
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
   * @throws InputError when the file is missing, is not a regular file, is empty, or is a git-LFS
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
          `truncated: bytes ${offset} to ${offset + target.byteLength} are needed, but the file ends at byte ${offset + done}`,
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

/** Opens a local file. */
export const openLocal: OpenFile = (path) => CheckpointFile.open(path);
