/**
 * A directory that appears whole or not at all: it is filled under a temporary name beside its
 * place, flushed to the device, and renamed. What a killed process left behind is swept away by the
 * next conversion to the same place.
 */

import { mkdir, open, readdir, rename, rm, rmdir, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { FlashError, InputError, writeError } from '../errors.ts';
import { manifestFile } from '../flash/manifest.ts';
import { formatBytes } from '../units.ts';

export class OutputDirectory {
  /** Where files are written until `commit`. */
  readonly path: string;
  readonly #target: string;
  readonly #replaced: string | null;
  /** The topmost directory that had to be made for the target to be in, or null. */
  readonly #made: string | null;

  private constructor(path: string, target: string, replaced: string | null, made: string | null) {
    this.path = path;
    this.#target = target;
    this.#replaced = replaced;
    this.#made = made;
  }

  /**
   * Prepares to write `target`, for which the same holds as for {@link checkOutput}.
   * @param bytes space that the files will take
   * @param force whether a model that is already there may be replaced
   */
  static async create(target: string, bytes: number, force: boolean): Promise<OutputDirectory> {
    const place = resolve(target);
    const parent = dirname(place);
    try {
      await sweep(parent, basename(place));
      const exists = await checkOutput(target, bytes, force);
      const made = (await mkdir(parent, { recursive: true })) ?? null;
      const path = temporary(place, 'partial');
      const replaced = exists ? temporary(place, 'replaced') : null;
      const directory = new OutputDirectory(path, place, replaced, made);
      await mkdir(path).catch(async (cause: unknown) => {
        await directory.abandon();
        throw cause;
      });
      return directory;
    } catch (cause) {
      throw cause instanceof FlashError ? cause : writeError(cause, target);
    }
  }

  /** Makes the directory durable and gives it its name. */
  async commit(): Promise<void> {
    try {
      for (const name of await readdir(this.path)) await sync(join(this.path, name));
      await sync(this.path);
      if (this.#replaced !== null) await rename(this.#target, this.#replaced);
      await rename(this.path, this.#target).catch(async (cause: unknown) => {
        if (this.#replaced !== null) await rename(this.#replaced, this.#target);
        throw cause;
      });
      await sync(dirname(this.#target));
      if (this.#replaced !== null) await rm(this.#replaced, { recursive: true, force: true });
    } catch (cause) {
      throw writeError(cause, this.#target);
    }
  }

  /** Removes everything written so far. */
  async abandon(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
    if (this.#made === null) return;
    for (let dir = dirname(this.path); dir.startsWith(this.#made); dir = dirname(dir)) {
      const removed = await rmdir(dir).then(
        () => true,
        () => false, // somebody else has put something there
      );
      if (!removed) return;
    }
  }
}

/**
 * Checks, without changing anything, that a model of `bytes` can be written to `target`.
 * @param force whether a model that is already there may be replaced
 * @returns whether something that may be replaced is there
 * @throws InputError when `target` exists without `force`, is something else than a model, or the
 * file system has not enough room
 */
export async function checkOutput(target: string, bytes: number, force: boolean): Promise<boolean> {
  const place = resolve(target);
  const exists = await checkTarget(place, target, force);
  const { bavail, bsize } = await statfs(await nearestDirectory(dirname(place)));
  const free = bavail * bsize;
  if (free < bytes) {
    throw new InputError(
      `the model needs ${formatBytes(bytes)} and the disk has ${formatBytes(free)} free`,
      { file: target },
      'Free some space or choose another place',
    );
  }
  return exists;
}

/** `dir`, or the lowest directory above it that exists. */
async function nearestDirectory(dir: string): Promise<string> {
  for (let at = dir; ; at = dirname(at)) {
    if ((await stat(at).catch(() => null)) !== null || at === dirname(at)) return at;
  }
}

/** Whether something that may be replaced is at `place`. */
async function checkTarget(place: string, target: string, force: boolean): Promise<boolean> {
  const found = await stat(place).catch(() => null);
  if (found === null) return false;
  if (!found.isDirectory()) throw new InputError('exists and is not a directory', { file: target });
  const names = await readdir(place);
  if (names.length === 0) return true;
  if (!force) {
    throw new InputError('already exists', { file: target }, 'Use --force to replace it');
  }
  if (!names.includes(manifestFile)) {
    throw new InputError(
      'exists and is not a flashllm model, so --force does not replace it',
      { file: target },
      'Choose another place, or remove it yourself',
    );
  }
  return true;
}

function temporary(place: string, kind: 'partial' | 'replaced'): string {
  return `${place}.${kind}-${process.pid}`;
}

/** Removes what dead processes left for the same target; restores a model they had put aside. */
async function sweep(parent: string, name: string): Promise<void> {
  const siblings: string[] = await readdir(parent).catch(() => []);
  for (const sibling of siblings) {
    if (!sibling.startsWith(`${name}.`)) continue;
    const match = /^\.(partial|replaced)-(\d+)$/.exec(sibling.slice(name.length));
    if (match === null || isAlive(Number(match[2]))) continue;
    if (match[1] === 'replaced' && !siblings.includes(name)) {
      await rename(join(parent, sibling), join(parent, name));
    } else {
      await rm(join(parent, sibling), { recursive: true, force: true });
    }
  }
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false; // ours, from before a reboot: this process has just begun
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function sync(path: string): Promise<void> {
  // Windows cannot open directories; there the rename alone has to do.
  const handle = await open(path, 'r').catch(() => null);
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
