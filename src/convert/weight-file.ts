/**
 * A new file that is written in order, with direct I/O if the system allows it: then the processor copies
 * nothing, the page cache takes no memory for data that nobody reads from it, and the flush at the end has
 * nothing left to write.
 *
 *     parts       [ a        ][ b      ][ c                 ]
 *     sectors     |   |   |   |   |   |   |   |   |   |   |
 *     written     [ a     ]   from where it lies
 *                         [ a b         c ]   what shares a sector with another part: put together first
 *                                         [ c         ]   from where it lies, if sectors begin there, too
 */

import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { createFile, writeFully } from '../aside.ts';
import { sectorBytes } from '../flash/layout.ts';
import { removeEntry } from '../moving-files.ts';
import { createBuffer } from '../pages.ts';
import { Limiter } from '../parallel.ts';
import { alignDown, alignUp, MIB } from '../units.ts';

/** With the page cache: the bytes that are written before a flush is started. */
const flushBytes = 64 * MIB;
/** Staging buffers, in which sectors are assembled: one is written while the others are filled. */
const stagingBytes = 256 * 1024;
const stagings = 4;

/**
 * Direct writes are cut into pieces, of which a few are in flight: more of them, or larger ones, make the
 * device slower (see docs/LEARNED.md).
 */
const pieceBytes = 2 * MIB;
const piecesInFlight = 4;

/** Whether whole sectors can be written with direct I/O. */
async function writesDirectly(handle: FileHandle, sector: Uint8Array): Promise<boolean> {
  try {
    await writeFully(handle, sector, 0);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EINVAL') return false;
    throw error;
  }
}

/**
 * Opens a new file for direct writes; if the system does not support them, returns null and leaves no file.
 */
async function createDirect(path: string, sector: Uint8Array): Promise<FileHandle | null> {
  const flag = constants.O_DIRECT as number | undefined;
  if (flag === undefined || process.env.FLASHLLM_DIRECT_IO === '0') return null;
  const handle = await createFile(path, flag).catch(async (error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
    // Some systems create the file even if they refuse direct I/O.
    await removeEntry(path);
    return null;
  });
  if (handle === null) return null;
  try {
    if (await writesDirectly(handle, sector)) return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
  await handle.close();
  await removeEntry(path);
  return null;
}

export class WeightFile {
  readonly #handle: FileHandle;
  readonly #bytes: number;
  /** Null if the file is written through the page cache. */
  readonly #staging: Uint8Array | null;
  /** Memory, aligned to a page, from which parts can be written directly. */
  readonly #pages: ArrayBufferLike | null;
  /** Offset just after the last byte that was accepted. */
  #end = 0;
  /** Bytes in the current staging buffer; the last of them is just before {@link #end}. */
  #filled = 0;
  #lane = 0;
  /** For each staging buffer, the write from it. */
  readonly #inFlight = new Limiter(piecesInFlight);
  readonly #busy: Promise<void>[] = Array.from({ length: stagings }, () => Promise.resolve());
  /** Resolves when the previous part is accepted: parts are accepted one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Bytes written through the page cache since the last flush began. */
  #unflushed = 0;
  #flushing: Promise<void> | null = null;

  private constructor(
    handle: FileHandle,
    bytes: number,
    staging: Uint8Array | null,
    memory: WebAssembly.Memory | null,
  ) {
    this.#handle = handle;
    this.#bytes = bytes;
    this.#staging = staging;
    this.#pages = memory?.buffer ?? null;
  }

  /**
   * Creates the file at `path`. Throws the system's error.
   * @param bytes its length
   * @param memory parts in this memory need not be copied
   */
  static async create(
    path: string,
    bytes: number,
    memory: WebAssembly.Memory | null = null,
  ): Promise<WeightFile> {
    const staging = new Uint8Array(createBuffer(stagings * stagingBytes).buffer);
    const direct = await createDirect(path, staging.subarray(0, sectorBytes));
    const handle = direct ?? (await createFile(path));
    const file = new WeightFile(handle, bytes, direct === null ? null : staging, memory);
    try {
      // Writes that do not extend a file need not wait for each other.
      await handle.truncate(bytes);
      return file;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Whether the page cache is bypassed. */
  get direct(): boolean {
    return this.#staging !== null;
  }

  /**
   * Writes `part` at `position`; gaps between parts are zero. Throws the system's error for this part or an
   * earlier one.
   * @param part stays unchanged until the promise resolves
   * @param position not before the end of the part before
   */
  async write(part: Uint8Array, position: number): Promise<void> {
    if (this.#staging === null) return this.#writeCached(part, position);
    const taken = this.#turn.then(() => this.#take(part, position));
    this.#turn = taken.catch(() => {});
    await Promise.all(await taken);
  }

  /** Flushes everything to the device and closes the file. Throws the error of a write or of the system. */
  async finish(): Promise<void> {
    await this.#turn;
    await this.#flushing;
    this.#putZeros(alignUp(this.#filled, sectorBytes) - this.#filled);
    this.#writeStaged();
    await Promise.all(this.#busy);
    await this.#handle.truncate(this.#bytes);
    await this.#handle.sync(); // here, since Windows flushes only files that are open for writing
    await this.#handle.close();
  }

  /** Closes the incomplete file, once no write is under way. */
  async close(): Promise<void> {
    await this.#turn;
    await this.#flushing?.catch(() => {});
    await Promise.allSettled(this.#busy);
    await this.#handle.close();
  }

  /** Starts to write a part, or copies it to a staging buffer. @returns the writes from it */
  async #take(part: Uint8Array, position: number): Promise<Promise<void>[]> {
    const writes: Promise<void>[] = [];
    await this.#skipTo(position);
    for (let done = 0; done < part.length; ) {
      const rest = part.subarray(done);
      const toSector = sectorBytes - (this.#filled % sectorBytes);
      const meets = rest.buffer === this.#pages && (rest.byteOffset + toSector) % sectorBytes === 0;
      let bytes: number;
      if (meets && this.#filled === 0 && rest.length >= sectorBytes) {
        bytes = alignDown(rest.length, sectorBytes);
        const writing = this.#writeSectors(rest.subarray(0, bytes), this.#end);
        writing.catch(() => {}); // whoever waits sees the error
        writes.push(writing);
        this.#end += bytes;
      } else {
        bytes = Math.min(rest.length, meets ? toSector : stagingBytes - this.#filled);
        await this.#put(rest.subarray(0, bytes));
        if (this.#filled === stagingBytes || (meets && bytes === toSector)) this.#writeStaged();
      }
      done += bytes;
    }
    return writes;
  }

  /** Adds zeros up to `position`, except for whole sectors, which are zero anyway. */
  async #skipTo(position: number): Promise<void> {
    if (position < this.#end) throw new Error(`${position} is before ${this.#end}`);
    const open = this.#filled % sectorBytes === 0 ? 0 : alignUp(this.#end, sectorBytes) - this.#end;
    this.#putZeros(Math.min(open, position - this.#end));
    if (position === this.#end) return;
    this.#writeStaged();
    this.#end = alignDown(position, sectorBytes);
    await this.#busy[this.#lane];
    this.#putZeros(position - this.#end);
  }

  /** Adds zeros after the staged bytes, up to the end of the sector. */
  #putZeros(bytes: number): void {
    if (bytes === 0) return;
    const at = this.#lane * stagingBytes + this.#filled;
    this.#staging?.fill(0, at, at + bytes);
    this.#filled += bytes;
    this.#end += bytes;
  }

  async #put(bytes: Uint8Array): Promise<void> {
    if (this.#filled === 0) await this.#busy[this.#lane];
    this.#staging?.set(bytes, this.#lane * stagingBytes + this.#filled);
    this.#filled += bytes.length;
    this.#end += bytes.length;
  }

  /** Starts to write the staged bytes, which are whole sectors. */
  #writeStaged(): void {
    if (this.#filled === 0 || this.#staging === null) return;
    const at = this.#lane * stagingBytes;
    const sectors = this.#staging.subarray(at, at + this.#filled);
    const writing = this.#writeSectors(sectors, this.#end - this.#filled);
    writing.catch(() => {}); // whoever waits sees the error
    this.#busy[this.#lane] = writing;
    this.#lane = (this.#lane + 1) % stagings;
    this.#filled = 0;
  }

  /** Writes whole sectors in pieces, which take turns with those of other parts. */
  async #writeSectors(data: Uint8Array, position: number): Promise<void> {
    const pieces = Array.from({ length: Math.ceil(data.length / pieceBytes) }, (_, index) => {
      const start = index * pieceBytes;
      const piece = data.subarray(start, start + pieceBytes);
      return this.#inFlight.run(() =>
        writeFully(this.#handle, piece, position + start, sectorBytes),
      );
    });
    // If one fails, the others must have ended, too, before their memory is used for something else.
    await Promise.allSettled(pieces);
    await Promise.all(pieces);
  }

  async #writeCached(part: Uint8Array, position: number): Promise<void> {
    await writeFully(this.#handle, part, position);
    this.#unflushed += part.length;
    this.#flush();
  }

  /** Starts a flush of the data written so far, so that the last flush need not wait for all of it. */
  #flush(): void {
    if (this.#flushing !== null || this.#unflushed < flushBytes) return;
    this.#unflushed = 0;
    const flushing = this.#handle.datasync().then(() => {
      this.#flushing = null;
    });
    flushing.catch(() => {}); // whoever finishes sees the error
    this.#flushing = flushing;
  }
}
