/**
 * A file during its download: bytes come in any order, are recorded once on the device, and the file
 * gets its name when it is complete.
 */

import { constants } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { createFile, noFollow, writeFully } from '../aside.ts';
import { writeError } from '../errors.ts';
import { removeEntry, renameEntry } from '../moving-files.ts';
import { digestOfFile } from './file-hash.ts';
import { type Journal, type KnownFile, partSuffix } from './journal.ts';
import { Ranges } from './ranges.ts';
import type { WantedFile } from './selection.ts';

/** The most bytes of a file that a killed process may lose; of small files a 64th. */
const mostUnrecorded = 8 * 2 ** 20;
const leastUnrecorded = 64 * 1024;

const againFlags = constants.O_RDWR | noFollow;

export class PartFile {
  readonly file: WantedFile;
  /** Bytes that were there before this run. */
  readonly resumedBytes: number;
  /** Path of the whole file. */
  readonly path: string;
  readonly got: Ranges;
  #done: boolean;
  readonly #journal: Journal;
  #handle: Promise<FileHandle> | null = null;
  #unrecorded = new Ranges();

  private constructor(file: WantedFile, dir: string, journal: Journal, known: KnownFile | null) {
    this.file = file;
    this.path = join(dir, file.name);
    this.got = known?.got ?? new Ranges();
    this.#done = known?.done ?? false;
    this.#journal = journal;
    this.resumedBytes = this.#done ? file.bytes : this.got.bytes;
  }

  /** Resumes `file` in `dir` from the journal, or starts it. @throws errors of the file system */
  static async begin(file: WantedFile, dir: string, journal: Journal): Promise<PartFile> {
    const { name, bytes, hash } = file;
    const known = journal.known.get(name);
    const [whole, part] = [join(dir, name), join(dir, `${name}${partSuffix}`)];
    if (known?.bytes === bytes && known.digest === hash.digest) {
      if (known.done && (await sizeOf(whole)) === bytes) {
        return new PartFile(file, dir, journal, known);
      }
      if (!known.done) {
        // An earlier process may have been killed just after its check: the check is repeated.
        const named = (await sizeOf(part)) === null && (await sizeOf(whole)) === bytes;
        if (named) await renameEntry(whole, part);
        if (known.got.bytes === 0 || (await sizeOf(part)) !== null) {
          return new PartFile(file, dir, journal, known);
        }
      }
    }
    await journal.file(name, bytes, hash.digest);
    for (const path of [whole, part]) await removeEntry(path);
    return new PartFile(file, dir, journal, null);
  }

  /** Whether the file is complete, was checked, and has its name. */
  get done(): boolean {
    return this.#done;
  }

  /**
   * Writes `data` at byte `at`. @returns how many of these bytes are new
   * @throws FlashError when the disk is full, or the write fails
   */
  async write(data: Uint8Array, at: number): Promise<number> {
    const to = at + data.length;
    const fresh = this.got.missing(at, to).reduce((sum, hole) => sum + hole.to - hole.from, 0);
    if (fresh === 0) return 0;
    try {
      await writeFully(await this.#open(), data, at);
    } catch (error) {
      throw writeError(error, this.#partPath);
    }
    this.got.add(at, to);
    this.#unrecorded.add(at, to);
    const most = Math.max(leastUnrecorded, Math.min(mostUnrecorded, this.file.bytes / 64));
    if (this.#unrecorded.bytes >= most) await this.record();
    return fresh;
  }

  /** Records all written bytes, once they are on the device. */
  async record(): Promise<void> {
    const written = this.#unrecorded;
    if (written.bytes === 0) return;
    this.#unrecorded = new Ranges();
    try {
      await (await this.#open()).datasync();
    } catch (error) {
      throw writeError(error, this.#partPath);
    }
    for (const { from, to } of written.all) await this.#journal.got(this.file.name, from, to);
  }

  /**
   * Gives the file its name if its digest is right; else starts it again from the beginning.
   * @returns the wrong digest; null if the digest is right
   */
  async finish(signal: AbortSignal, onBytes: (bytes: number) => void): Promise<string | null> {
    const { file } = this;
    try {
      await this.#open(); // nothing was written to an empty file
      await this.record();
      await this.close();
    } catch (error) {
      throw writeError(error, this.#partPath);
    }
    const digest = await digestOfFile(this.#partPath, file, signal, onBytes);
    if (digest !== file.hash.digest) {
      await this.#journal.file(file.name, file.bytes, file.hash.digest);
      await removeEntry(this.#partPath);
      this.got.clear();
      return digest;
    }
    await renameEntry(this.#partPath, this.path);
    await this.#journal.done(file.name);
    this.#done = true;
    return null;
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = null;
    await (await handle?.catch(() => null))?.close();
  }

  get #partPath(): string {
    return `${this.path}${partSuffix}`;
  }

  #open(): Promise<FileHandle> {
    this.#handle ??= open(this.#partPath, againFlags).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return createFile(this.#partPath);
    });
    return this.#handle;
  }
}

/** Bytes of the regular file at `path`; null if there is none. */
async function sizeOf(path: string): Promise<number | null> {
  const found = await lstat(path).catch(() => null);
  return found?.isFile() ? found.size : null;
}
