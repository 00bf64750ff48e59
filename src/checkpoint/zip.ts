/**
 * A zip archive whose entries are stored, not compressed: each is then one range of the file.
 * The archive's own structures are read by yauzl, which knows zip64 too.
 */

import { type Entry, fromRandomAccessReaderPromise, RandomAccessReader, type ZipFile } from 'yauzl';
import { FlashError, InputError } from '../errors.ts';
import type { RangeFile } from './file.ts';
import { brief } from './json-file.ts';

/** Most entries. A checkpoint has one per storage and about 6 more. */
const maxEntries = 2 ** 17;

/** Compression method 0: the bytes as they are. */
const stored = 0;

/**
 * The fewest bytes that are read at once. For each directory entry, yauzl asks for 46 bytes and then for a
 * name: with this window, 65,000 entries take a fifth of the time of separate reads. A larger window would
 * be wasted on the headers of single entries, which lie far apart.
 */
const windowBytes = 8 * 1024;

/**
 * Gives yauzl access to the file, and refuses positions outside it, which a damaged archive may ask for.
 */
class ZipReader extends RandomAccessReader {
  readonly #file: RangeFile;
  #window: Buffer = Buffer.alloc(0);
  /** Where the window begins in the file. */
  #start = 0;

  constructor(file: RangeFile) {
    super();
    this.#file = file;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    this.#read(buffer.subarray(offset, offset + length), position).then(
      () => callback(null),
      (error: Error) => callback(error),
    );
  }

  async #read(target: Buffer, position: number): Promise<void> {
    const end = position + target.length;
    if (!Number.isSafeInteger(position) || end > this.#file.size) {
      throw new Error(`it refers to byte ${end}`);
    }
    if (target.length > windowBytes) return this.#file.read(position, target);
    if (position < this.#start || end > this.#start + this.#window.length) {
      const window = Buffer.alloc(Math.min(windowBytes, this.#file.size - position));
      await this.#file.read(position, window);
      this.#window = window;
      this.#start = position;
    }
    this.#window.copy(target, 0, position - this.#start);
  }
}

/** Location of an entry's data in the file. */
export interface ZipRange {
  /** First byte. */
  readonly offset: number;
  readonly bytes: number;
}

export class ZipArchive {
  /** The names of all entries, in the order of the archive. */
  readonly names: ReadonlySet<string>;
  readonly #file: RangeFile;
  readonly #zip: ZipFile;
  readonly #entries: ReadonlyMap<string, Entry>;

  private constructor(file: RangeFile, zip: ZipFile, entries: ReadonlyMap<string, Entry>) {
    this.#file = file;
    this.#zip = zip;
    this.#entries = entries;
    this.names = new Set(entries.keys());
  }

  /**
   * Reads the central directory.
   * @throws InputError when it is missing or damaged: the usual sign of a truncated file.
   */
  static async open(file: RangeFile): Promise<ZipArchive> {
    const zip = await guarded(file, () =>
      fromRandomAccessReaderPromise(new ZipReader(file), file.size, { autoClose: false }),
    );
    const entries = new Map<string, Entry>();
    await guarded(file, async () => {
      if (zip.entryCount > maxEntries) throw new Error(`it claims ${zip.entryCount} entries`);
      for await (const entry of zip.eachEntry()) {
        if (entries.has(entry.fileName)) throw new Error(`two entries ${brief(entry.fileName)}`);
        entries.set(entry.fileName, entry);
      }
    });
    return new ZipArchive(file, zip, entries);
  }

  /**
   * Location of the data of the entry `name`; undefined when there is no such entry.
   * @throws InputError when it is compressed, encrypted, or reaches beyond the file.
   */
  async range(name: string): Promise<ZipRange | undefined> {
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    if (entry.compressionMethod !== stored || entry.isEncrypted()) {
      throw new InputError(
        `entry ${brief(name)} is ${entry.isEncrypted() ? 'encrypted' : 'compressed'}, not stored as torch.save does it`,
        { file: this.#file.path, offset: entry.relativeOffsetOfLocalHeader },
        'Unpack the archive and save the checkpoint again with torch.save or as safetensors',
      );
    }
    return guarded(this.#file, async () => {
      const header = await this.#zip.readLocalFileHeaderPromise(entry, { minimal: true });
      return { offset: header.fileDataStart, bytes: entry.uncompressedSize };
    });
  }

  /**
   * The data of a small entry; undefined when there is no such entry.
   * @throws InputError when it has more than `maxBytes`, or as `range` does.
   */
  async read(name: string, maxBytes: number): Promise<Buffer | undefined> {
    const range = await this.range(name);
    if (range === undefined) return undefined;
    if (range.bytes > maxBytes) {
      throw new InputError(
        `entry ${brief(name)} has ${range.bytes} bytes (at most ${maxBytes} are read)`,
        { file: this.#file.path, offset: range.offset },
      );
    }
    const bytes = Buffer.alloc(range.bytes);
    await this.#file.read(range.offset, bytes);
    return bytes;
  }
}

/** Runs `work` and turns errors of yauzl into errors that name the file. */
async function guarded<T>(file: RangeFile, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FlashError) throw error;
    throw new InputError(
      `is truncated or damaged: no complete zip archive in its ${file.size} bytes`,
      { file: file.path },
      'Download it again',
      { cause: error },
    );
  }
}
