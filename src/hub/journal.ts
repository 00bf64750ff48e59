/**
 * The journal of a download, kept beside it, so that the next run continues after the last byte that is
 * known to be on the device. One line for each event, only ever appended; the last line may be incomplete.
 *
 *     ["file", name, bytes, digest]   the file starts from the beginning, without any bytes
 *     ["got", name, from, to]         bytes [from, to) are in `<name>.part`
 *     ["done", name]                  the whole file was checked, and has its final name
 */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { noFollow, writeAside } from '../aside.ts';
import { isCount } from '../checkpoint/shape.ts';
import { writeError } from '../errors.ts';
import { readRegular } from '../regular-file.ts';
import { Ranges } from './ranges.ts';

export const journalFile = 'pull.journal';
/** The suffix of an incomplete file's name. */
export const partSuffix = '.part';

/** The most bytes of a journal: those of a million records, more than any download makes. */
const longest = 128 * 2 ** 20;
const appendFlags = constants.O_WRONLY | constants.O_APPEND | noFollow;

/** The recorded state of a file. */
export interface KnownFile {
  readonly bytes: number;
  readonly digest: string;
  readonly got: Ranges;
  done: boolean;
}

export class Journal {
  /** The files by name, as they were when the journal was opened. */
  readonly known: ReadonlyMap<string, KnownFile>;
  readonly #path: string;
  readonly #file: FileHandle;
  #last: Promise<void> = Promise.resolve();

  private constructor(path: string, file: FileHandle, known: ReadonlyMap<string, KnownFile>) {
    this.#path = path;
    this.#file = file;
    this.known = known;
  }

  /** Opens the journal in `dir`, or starts one. @throws errors of the file system */
  static async open(dir: string): Promise<Journal> {
    const path = join(dir, journalFile);
    const content = await readRegular(path, longest).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return Buffer.alloc(0);
      throw error;
    });
    const known = parse(content.toString());
    // New records must not follow half a line.
    await writeAside(path, (file) => file.writeFile(compact(known)));
    return new Journal(path, await open(path, appendFlags), known);
  }

  file(name: string, bytes: number, digest: string): Promise<void> {
    return this.#append(['file', name, bytes, digest]);
  }

  got(name: string, from: number, to: number): Promise<void> {
    return this.#append(['got', name, from, to]);
  }

  done(name: string): Promise<void> {
    return this.#append(['done', name]);
  }

  async close(): Promise<void> {
    await this.#last.catch(() => {});
    await this.#file.close();
  }

  #append(line: readonly unknown[]): Promise<void> {
    const write = async () => {
      try {
        await this.#file.appendFile(`${JSON.stringify(line)}\n`);
      } catch (error) {
        throw writeError(error, this.#path);
      }
    };
    // Lines are written one after the other.
    this.#last = this.#last.then(write, write);
    return this.#last;
  }
}

function parse(text: string): Map<string, KnownFile> {
  const known = new Map<string, KnownFile>();
  const lines = text.split('\n').slice(0, -1);
  for (const line of lines) {
    const [what, name, a, b] = record(line);
    if (typeof name !== 'string') continue;
    if (what === 'file' && isCount(a) && typeof b === 'string') {
      known.set(name, { bytes: a, digest: b, got: new Ranges(), done: false });
    }
    const file = known.get(name);
    if (file === undefined) continue;
    if (what === 'got' && isCount(a) && isCount(b) && b <= file.bytes) file.got.add(a, b);
    if (what === 'done') file.done = true;
  }
  return known;
}

function record(line: string): readonly unknown[] {
  try {
    const parsed: unknown = JSON.parse(line);
    return Array.isArray(parsed) ? parsed : [];
  } catch {
    return [];
  }
}

function compact(known: ReadonlyMap<string, KnownFile>): string {
  const lines = [...known].flatMap(([name, { bytes, digest, got, done }]) => [
    ['file', name, bytes, digest],
    ...(done ? [['done', name]] : got.all.map(({ from, to }) => ['got', name, from, to])),
  ]);
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}
