/**
 * The directory of a model during its download: `<directory>.partial`, which is renamed when the model is
 * complete. It remains when a process is stopped or killed, and the next one resumes from it.
 */

import { lstat, mkdir, readdir, rmdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { createFile, modeOf, openUp, ownerOnlyDirectory, syncPath } from '../aside.ts';
import { InputError, writeError } from '../errors.ts';
import { checkMovable, nodeMoveSystem, removeEntry, renameEntry } from '../moving-files.ts';
import { claim, keepClaim } from '../owned.ts';
import { Journal, journalFile } from './journal.ts';
import { PartFile } from './part-file.ts';
import type { WantedFile } from './selection.ts';

const weights = /\.(safetensors|bin|gguf)$/i;

export class PartialDirectory {
  readonly path: string;
  readonly #target: string;
  readonly #journal: Journal;
  readonly #release: () => void;
  readonly #parts = new Map<string, PartFile>();

  private constructor(path: string, target: string, journal: Journal, release: () => void) {
    this.path = path;
    this.#target = target;
    this.#journal = journal;
    this.#release = release;
  }

  /** Whether an earlier run has left more than small files. */
  get holdsWeights(): boolean {
    return [...this.#journal.known].some(
      ([name, { got, done }]) => (done || got.bytes > 0) && weights.test(name),
    );
  }

  /**
   * Opens the partial directory of `target`, or creates it, for one process at a time.
   * @throws InputError when another process holds it, or when something else has its name
   */
  static async open(target: string): Promise<PartialDirectory> {
    const place = resolve(target);
    const path = partialPath(place);
    const busy = (pid: number) =>
      new InputError(
        `is being downloaded by process ${pid}`,
        { file: target },
        'Wait until it has ended, or end it',
      );
    let release: (() => void) | null = null;
    try {
      await checkMovable(place);
      await mkdir(dirname(place), { recursive: true });
      release = keepClaim(await claim(place, ['running'], makeEmpty, busy));
      await mkdir(path, { mode: ownerOnlyDirectory }).catch(async (error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        await assertOurs(path);
      });
      return new PartialDirectory(path, place, await Journal.open(path), release);
    } catch (error) {
      release?.();
      throw writeError(error, path);
    }
  }

  /** The file's state here. */
  async begin(file: WantedFile): Promise<PartFile> {
    const begun = this.#parts.get(file.name);
    if (begun !== undefined) return begun;
    try {
      const part = await PartFile.begin(file, this.path, this.#journal);
      this.#parts.set(file.name, part);
      return part;
    } catch (error) {
      throw writeError(error, join(this.path, file.name));
    }
  }

  /** Gives the directory its final name; every file that was started must be done. Other files are removed. */
  async commit(system = nodeMoveSystem): Promise<void> {
    try {
      // Windows does not rename a directory that contains an open file.
      for (const part of this.#parts.values()) await part.close();
      await this.#journal.close();
      await this.#removeOthers([...this.#parts.keys()]);
      await openUp(this.path, await modeOf(this.#target, 0o777));
      await syncPath(this.path);
      // The target may be an empty directory, and not every system can rename onto one.
      await rmdir(this.#target).catch(() => {});
      await renameEntry(this.path, this.#target, system);
      await syncPath(dirname(this.#target));
      await removeEntry(join(this.#target, journalFile), system);
    } catch (error) {
      throw writeError(error, this.#target);
    }
  }

  /** Removes the directory and everything in it. */
  async remove(): Promise<void> {
    await removeEntry(this.path);
  }

  /** Releases the directory; its files stay for the next run. */
  async close(): Promise<void> {
    for (const part of this.#parts.values()) await part.close();
    await this.#journal.close();
    this.#release();
  }

  /** Removes files of another selection or another commit. */
  async #removeOthers(names: readonly string[]): Promise<void> {
    const kept = new Set([...names, journalFile]);
    for (const name of await readdir(this.path)) {
      if (!kept.has(name)) await removeEntry(join(this.path, name));
    }
  }
}

/** The path of `target` while it is incomplete. */
export function partialPath(target: string): string {
  return `${resolve(target)}.partial`;
}

/** @throws InputError when the directory at `path` does not come from a download */
async function assertOurs(path: string): Promise<void> {
  const found = await lstat(path);
  const names = found.isDirectory() ? await readdir(path) : [];
  if (found.isDirectory() && (names.length === 0 || names.includes(journalFile))) return;
  throw new InputError(
    'has the name of an unfinished download, but is not one',
    { file: path },
    `Move ${basename(path)} away, or choose another directory`,
  );
}

async function makeEmpty(path: string): Promise<void> {
  await (await createFile(path)).close();
}
