/**
 * Handles of many files, few of which are open at a time: a checkpoint may have hundreds of shards, but a
 * process often has at most 256 open files (`ulimit -n`).
 */

import type { FileHandle } from 'node:fs/promises';
import { InputError } from '../errors.ts';

/** More files than are read at once, and few enough for a limit of 64 open files in all. */
const mostOpen = 16;

/** Those that are open, the least recently used first. */
const openHandles = new Set<PooledHandle>();

export class PooledHandle {
  readonly #path: string;
  readonly #open: () => Promise<FileHandle>;
  /** Identifies a file, to detect that another file has taken its name. */
  readonly #identity: string;
  #handle: Promise<FileHandle> | null;
  #users = 0;

  private constructor(
    path: string,
    open: () => Promise<FileHandle>,
    handle: FileHandle,
    identity: string,
  ) {
    this.#path = path;
    this.#open = open;
    this.#handle = Promise.resolve(handle);
    this.#identity = identity;
  }

  /** Takes over `handle`, which is closed when others need its place, and opened again by `open`. */
  static async of(
    path: string,
    handle: FileHandle,
    open: () => Promise<FileHandle>,
  ): Promise<PooledHandle> {
    const pooled = new PooledHandle(path, open, handle, await identityOf(handle));
    openHandles.add(pooled);
    await closeIdle();
    return pooled;
  }

  /** Returns the result of `work`, which gets the handle; the handle stays open until `work` ends. */
  async use<T>(work: (handle: FileHandle) => Promise<T>): Promise<T> {
    this.#users++;
    try {
      // The last in the order is the most recently used.
      openHandles.delete(this);
      openHandles.add(this);
      this.#handle ??= this.#openAgain();
      const handle = await this.#handle;
      await closeIdle();
      return await work(handle);
    } finally {
      this.#users--;
    }
  }

  /** Closes it permanently; nobody may be using it. */
  async close(): Promise<void> {
    openHandles.delete(this);
    const handle = this.#handle;
    this.#handle = null;
    await (await handle)?.close();
  }

  async #openAgain(): Promise<FileHandle> {
    try {
      const handle = await this.#open();
      if ((await identityOf(handle)) === this.#identity) return handle;
      await handle.close();
      throw new InputError(
        'was changed by another program while it was read',
        { file: this.#path },
        'Run the command again',
      );
    } catch (error) {
      this.#handle = null;
      openHandles.delete(this);
      throw error;
    }
  }

  static get idle(): PooledHandle | undefined {
    for (const handle of openHandles) if (handle.#users === 0) return handle;
    return undefined;
  }
}

async function closeIdle(): Promise<void> {
  while (openHandles.size > mostOpen) {
    const { idle } = PooledHandle;
    if (idle === undefined) return;
    await idle.close();
  }
}

async function identityOf(handle: FileHandle): Promise<string> {
  const { dev, ino, size, mtimeMs } = await handle.stat();
  return [dev, ino, size, mtimeMs].join();
}
