/**
 * The output file while a batch runs: each result is appended as a complete line when it is there. Appended
 * results survive the end of the process, however it ends; an incomplete last line may remain, which the
 * next run cuts off. They are only certain to survive a crash of the machine after the final flush.
 */

import { constants } from 'node:fs';
import { type FileHandle, open, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createFile } from '../aside.ts';
import { fileError } from '../checkpoint/file.ts';
import { InputError, writeError } from '../errors.ts';
import { claim, keepClaim } from '../owned.ts';
import { assertRegular } from '../regular-file.ts';
import type { LineFile } from './lines.ts';

/** The file operations that a journal needs. */
export type JournalFile = Pick<FileHandle, 'write' | 'truncate' | 'sync' | 'close'>;

/** Appends whole lines to a file, one after the other. */
export class Journal {
  readonly #file: JournalFile;
  readonly #path: string;
  /** Bytes of complete lines. */
  #bytes: number;
  #last: Promise<void> = Promise.resolve();
  #failure: Error | null = null;

  /** @param bytes of complete lines in the file, which has nothing after them */
  constructor(file: JournalFile, path: string, bytes: number) {
    this.#file = file;
    this.#path = path;
    this.#bytes = bytes;
  }

  /**
   * Appends `line`, which ends with a newline; resolves when the system has accepted it.
   * @throws DiskFullError, or InputError when the write fails; later calls then fail too, since the file
   * might end with an incomplete line
   */
  append(line: string): Promise<void> {
    const written = this.#last.then(() => this.#write(Buffer.from(line)));
    this.#last = written.catch(() => {});
    return written;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done);
        done += bytesWritten;
      }
      this.#bytes += bytes.length;
    } catch (error) {
      // If this fails as well, the next run cuts the incomplete line off.
      await this.#file.truncate(this.#bytes).catch(() => {});
      this.#failure = writeError(error, this.#path);
      throw this.#failure;
    }
  }

  /** Waits for pending writes, flushes, and closes the file. */
  async close(): Promise<void> {
    await this.#last;
    try {
      await this.#file.sync();
    } catch (error) {
      throw writeError(error, this.#path);
    } finally {
      await this.#file.close();
    }
  }
}

/** Flags to open an existing output, and a new one. */
const appendFlags =
  constants.O_RDWR | constants.O_APPEND | ((constants.O_NONBLOCK as number | undefined) ?? 0);
const newFlags = appendFlags | constants.O_CREAT | constants.O_EXCL;

/** An existing output. */
interface FoundOutput extends LineFile {
  readonly source: FileHandle;
}

/** An output that belongs to this process until it is released. */
export class Output {
  readonly path: string;
  /** The output of earlier runs; null if there is no file yet. */
  readonly found: FoundOutput | null;
  readonly #release: () => void;
  #begun = false;

  private constructor(path: string, found: FoundOutput | null, release: () => void) {
    this.path = path;
    this.found = found;
    this.#release = release;
  }

  /**
   * Claims the output at `path`, and opens it if it exists; nothing is changed yet.
   * @param input must be another file
   * @throws InputError when another process has claimed it, or when it is not a writable file
   */
  static async claim(path: string, input: FileHandle): Promise<Output> {
    const release = await claimOutput(path);
    try {
      const found = await openFound(path);
      if (found !== null && (await isSame(found.source, input))) {
        await found.source.close();
        throw new InputError('is also the input file', { file: path }, 'Give another output file');
      }
      return new Output(path, found, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Creates the file, or truncates it to its first `bytes`. */
  async begin(bytes: number): Promise<Journal> {
    const { found, path } = this;
    try {
      const file = found?.source ?? (await open(path, newFlags, 0o666));
      if (found !== null && found.bytes > bytes) await file.truncate(bytes);
      this.#begun = true;
      return new Journal(file, path, bytes);
    } catch (error) {
      throw writeError(error, path);
    }
  }

  /** Releases the output; its journal must be closed before. */
  async release(): Promise<void> {
    if (!this.#begun) await this.found?.source.close();
    this.#release();
  }
}

async function openFound(path: string): Promise<FoundOutput | null> {
  try {
    const there = await stat(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (there === null) return null;
    assertRegular(there, path);
    const source = await open(path, appendFlags);
    return { path, source, bytes: (await source.stat()).size };
  } catch (error) {
    throw fileError(error, path, 'opening the output');
  }
}

async function isSame(one: FileHandle, other: FileHandle): Promise<boolean> {
  const [a, b] = await Promise.all([one.stat(), other.stat()]);
  return a.ino === b.ino && a.dev === b.dev;
}

/** Ensures that only one batch at a time writes to a file, whatever path it is given by. */
async function claimOutput(path: string): Promise<() => void> {
  const busy = (pid: number) =>
    new InputError(
      `is being written by process ${pid}`,
      { file: path },
      'Wait until it has ended, or end it',
    );
  try {
    const base = await realpath(path).catch(async () =>
      join(await realpath(dirname(path)), basename(path)),
    );
    const make = async (claimed: string) => (await createFile(claimed)).close();
    return keepClaim(await claim(base, ['running'], make, busy));
  } catch (error) {
    if (error instanceof InputError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw code === 'ENOENT' || code === 'ENOTDIR'
      ? new InputError('its directory does not exist', { file: path })
      : writeError(error, path);
  }
}
