/**
 * A directory that appears whole or not at all: it is filled under a temporary name beside its target,
 * flushed to the device, and renamed. The next process that writes to the same target removes what a killed
 * process left behind; the entry of a living process keeps others away.
 */

import { mkdir, readdir, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { modeOf, openUp, ownerOnlyDirectory, syncPath } from '../aside.ts';
import { createdMeanwhile, InputError, withNothingLeft, writeError } from '../errors.ts';
import { manifestFile, trainingBase } from '../flash/manifest.ts';
import { freeBytes, nearestDirectory } from '../free-space.ts';
import { checkMovable, nodeMoveSystem, removeEntry, renameEntry } from '../moving-files.ts';
import { claim, othersBeside, ownedBeside, ownedName, sweepBeside } from '../owned.ts';
import { formatBytes } from '../units.ts';

export class OutputDirectory {
  /** Where files are written until `commit`. */
  readonly path: string;
  readonly #target: string;
  readonly #replaced: string | null;
  /** The lowest existing directory, below which the target's parents had to be created. */
  readonly #ground: string;

  private constructor(path: string, target: string, replaced: string | null, ground: string) {
    this.path = path;
    this.#target = target;
    this.#replaced = replaced;
    this.#ground = ground;
  }

  /**
   * Prepares to write `target`, under the same conditions as {@link checkOutput}.
   * @param bytes disk space that the files will take
   * @param force whether a model that is already there may be replaced
   * @throws InputError also while another process writes to the same target or trains the model there
   */
  static async create(target: string, bytes: number, force: boolean): Promise<OutputDirectory> {
    const place = resolve(target);
    const parent = dirname(place);
    try {
      await recoverModel(place);
      const exists = await checkOutput(target, bytes, force);
      if (exists) await checkMovable(place);
      const ground = await nearestDirectory(parent);
      await mkdir(parent, { recursive: true });
      try {
        const path = await claim(
          place,
          ['partial'],
          async (own) => {
            await mkdir(own, { mode: ownerOnlyDirectory });
          },
          (pid) => new InputError(`is being written by process ${pid}`, { file: target }, waitHint),
        );
        const replaced = exists ? ownedName(place, 'replaced') : null;
        const directory = new OutputDirectory(path, place, replaced, ground);
        const [trainer] = await othersBeside(join(place, trainingBase), ['running']);
        if (trainer === undefined) return directory;
        await directory.abandon();
        const what = `is being trained by process ${trainer.pid}`;
        throw new InputError(what, { file: target }, waitHint);
      } catch (error) {
        await removeMade(parent, ground);
        throw error;
      }
    } catch (cause) {
      throw withNothingLeft(writeError(cause, target));
    }
  }

  /** Makes the directory durable and gives it its name; no file in it, or in what it replaces, is open. */
  async commit(system = nodeMoveSystem): Promise<void> {
    try {
      await openUp(this.path, await modeOf(this.#target, 0o777));
      for (const name of await readdir(this.path)) await syncPath(join(this.path, name));
      await syncPath(this.path);
      const replaced = this.#replaced;
      if (replaced !== null) await renameEntry(this.#target, replaced, system);
      await renameEntry(this.path, this.#target, system).catch(async (cause: unknown) => {
        if (replaced !== null) await renameEntry(replaced, this.#target, system);
        else if ((await stat(this.#target).catch(() => null)) !== null) {
          // Windows does not report that a directory is not empty.
          throw createdMeanwhile(this.#target, cause);
        }
        throw cause;
      });
      await syncPath(dirname(this.#target));
      if (replaced !== null) await removeEntry(replaced, system);
    } catch (cause) {
      throw writeError(cause, this.#target);
    }
  }

  /** Removes everything written so far. @returns whether nothing is left */
  async abandon(): Promise<boolean> {
    const gone = await removeEntry(this.path).then(
      () => true,
      () => false,
    );
    await removeMade(dirname(this.path), this.#ground);
    return gone;
  }
}

const waitHint = 'Wait until it has ended, or end it';

/**
 * Removes the directories that were created, from `dir` up to just below `ground`, as far as they are
 * empty.
 */
async function removeMade(dir: string, ground: string): Promise<void> {
  for (let at = dir; at !== ground && at !== dirname(at); at = dirname(at)) {
    const removed = await rmdir(at).then(
      () => true,
      () => false, // another process has put something there
    );
    if (!removed) return;
  }
}

/**
 * Cleans up after killed processes at the place of a model: a model that was moved aside and not yet
 * replaced gets its name back; half-written models, and replaced ones that are not yet removed, are
 * removed.
 */
export async function recoverModel(dir: string): Promise<void> {
  const place = resolve(dir);
  for (const { path, alive } of await ownedBeside(place, ['replaced'])) {
    if (alive || (await stat(place).catch(() => null)) !== null) continue;
    await renameEntry(path, place).catch(() => {}); // another process may have just restored it
  }
  await sweepBeside(place, ['partial', 'replaced']);
}

/**
 * Checks, without changing anything, that a model of `bytes` can be written to `target`.
 * @param force whether a model that is already there may be replaced
 * @returns whether something that may be replaced is there
 * @throws InputError when `target` exists without `force`, is not a model, or the file system has too
 * little free space
 */
export async function checkOutput(target: string, bytes: number, force: boolean): Promise<boolean> {
  const place = resolve(target);
  const exists = await checkTarget(place, target, force);
  const free = await freeBytes(dirname(place));
  if (free < bytes) {
    throw new InputError(
      `the model needs ${formatBytes(bytes)}, but the disk has only ${formatBytes(free)} free`,
      { file: target },
      'Free some space or choose another place',
    );
  }
  return exists;
}

/** Whether `place` holds something that may be replaced. */
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
      'exists and is not a flashllm model; --force does not replace it',
      { file: target },
      'Choose another place, or remove it yourself',
    );
  }
  return true;
}
