/** An opened model directory: its manifest, and reads of whole blocks that are checked on arrival. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { InputError } from '../errors.ts';
import { createBuffer } from '../pages.ts';
import { assertRegular, eachPiece } from '../regular-file.ts';
import { crcHex, crcOf, hex } from './checksum.ts';
import { DeviceFile } from './device-file.ts';
import { type DeviceProfile, loadProfile } from './device-profile.ts';
import { sectorBytes } from './layout.ts';
import { type Manifest, rowsOf, type StoredFile, type StoredTensor } from './manifest.ts';
import { readManifest } from './manifest-reader.ts';
import { narrowHead } from './narrow-head.ts';
import { type PredictorSet, parsePredictors, predictorsFile } from './predictor-file.ts';
import type { Extent } from './read-plan.ts';
import { nodeReadSystem, type ReadSystem } from './read-system.ts';
import { type RowPlaces, type RowRange, type Span, spanOf } from './row-range.ts';
import { type Priority, type RequestOptions, Scheduler, type Ticket } from './scheduler.ts';
import { UnbundledNeurons } from './unbundled.ts';

/** Rows being read into memory. */
export interface RowRequest extends Pick<Ticket, 'promote' | 'cancel'> {
  /** Resolves to the address of the first row, once all have arrived and are intact. */
  readonly done: Promise<number>;
}

export interface OpenOptions {
  readonly system?: ReadSystem;
  readonly profile?: DeviceProfile;
  /** False reads through the page cache. */
  readonly direct?: boolean;
  /** False ignores predictors, even damaged ones. */
  readonly predictors?: boolean;
  /** A file with separate up rows and down columns: single neurons are read from it. */
  readonly unbundled?: string;
  /**
   * The number of the head's rows that are used, from the first on, in whole blocks; for drafts. All by
   * default.
   */
  readonly headRows?: number;
}

export class ModelFiles {
  readonly dir: string;
  readonly manifest: Manifest;
  readonly scheduler: Scheduler;
  /** The predictors added by predict-train, or null. */
  readonly predictors: PredictorSet | null;
  readonly #files: ReadonlyMap<string, DeviceFile>;
  readonly #unbundled: UnbundledNeurons | null;
  /** Per tensor, one byte per block: 1 once the block has been read and found intact. */
  readonly #verified = new Map<StoredTensor, Uint8Array>();
  #checkMs = 0;
  #closed = false;

  private constructor(
    dir: string,
    manifest: Manifest,
    scheduler: Scheduler,
    files: ReadonlyMap<string, DeviceFile>,
    predictors: PredictorSet | null,
    unbundled: UnbundledNeurons | null,
  ) {
    this.predictors = predictors;
    this.#unbundled = unbundled;
    this.dir = dir;
    this.manifest = manifest;
    this.scheduler = scheduler;
    this.#files = files;
  }

  /**
   * Opens a model directory. Its small files are checked whole, its weights as they are read.
   * @throws InputError when a file is missing, truncated, damaged or of a newer version
   */
  static async open(dir: string, options: OpenOptions = {}): Promise<ModelFiles> {
    const { system = nodeReadSystem, direct = true } = options;
    const whole = await readManifest(dir);
    const manifest = narrowHead(whole, options.headRows ?? Number.POSITIVE_INFINITY);
    const profile = options.profile ?? (await loadProfile(dir));
    const files = new Map<string, DeviceFile>();
    try {
      for (const [name, stored] of Object.entries(manifest.files)) {
        const path = join(dir, name);
        await checkSize(path, stored);
        if (stored.headerBytes === undefined) {
          checkSum(path, stored, await checksumOf(path));
          continue;
        }
        const file = await DeviceFile.open(path, system, direct);
        files.set(name, file);
        checkSum(path, stored, crcHex(await readHeader(file, stored.headerBytes)));
      }
      const path = join(dir, predictorsFile);
      let predictors: PredictorSet | null = null;
      if (options.predictors !== false && (await exists(path))) {
        const file = await DeviceFile.open(path, system, direct);
        files.set(predictorsFile, file);
        predictors = parsePredictors(await readWholeHeader(file), manifest, file);
      }
      let unbundled: UnbundledNeurons | null = null;
      if (options.unbundled !== undefined) {
        const file = await DeviceFile.open(options.unbundled, system, direct);
        files.set(options.unbundled, file);
        unbundled = new UnbundledNeurons(manifest, file);
      }
      return new ModelFiles(dir, manifest, new Scheduler(profile), files, predictors, unbundled);
    } catch (error) {
      for (const file of files.values()) file.close();
      throw error;
    }
  }

  /** Whether all weights are read past the page cache. */
  get directIo(): boolean {
    return [...this.#files.values()].every(({ direct }) => direct);
  }

  /** Time spent on checksums, in milliseconds. */
  get checkMs(): number {
    return this.#checkMs;
  }

  /** Closes the files; reads must have ended. Closing twice does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const file of this.#files.values()) file.close();
  }

  /** The tensor named `name`, or undefined where the model has none. */
  find(name: string): StoredTensor | undefined {
    return this.manifest.tensors.get(name);
  }

  /** The tensor named `name`, which the architecture requires. */
  tensor(name: string): StoredTensor {
    const found = this.find(name);
    if (found === undefined) {
      throw new InputError(`has no tensor ${name}`, { file: this.dir }, convertAgain);
    }
    return found;
  }

  /**
   * Begins to read a range into memory; blocks that were not checked before are checked on arrival.
   * @param address where `spanOf` bytes are free; a multiple of a sector
   * @returns a request that rejects with InputError at a damaged block, IoError when reading fails
   */
  requestRows(
    range: RowRange,
    memory: WebAssembly.Memory,
    address: number,
    priority: Priority = 'demand',
  ): RowRequest {
    const { start, bytes, skip } = spanOf(range);
    const target = new Uint8Array(memory.buffer, address, bytes);
    const extent = { file: this.#file(range.tensor), position: start, target };
    const { done, promote, cancel } = this.scheduler.submit([extent], { priority });
    const checked = done.then(() => {
      this.#check(range, target.subarray(skip));
      return address + skip;
    });
    checked.catch(() => {}); // the awaiting code sees the error
    return { done: checked, promote, cancel };
  }

  /** Reads a range into memory: {@link requestRows}, waited for. */
  readRows(
    range: RowRange,
    memory: WebAssembly.Memory,
    address: number,
    priority: Priority = 'demand',
  ): Promise<number> {
    return this.requestRows(range, memory, address, priority).done;
  }

  /**
   * Begins to read single rows, each to its own address, and checks those not checked before. Rows that are
   * adjacent, or nearly so, share one read.
   */
  requestScattered(
    tensor: StoredTensor,
    places: RowPlaces,
    memory: WebAssembly.Memory,
    options: Omit<RequestOptions, 'offer'> = {},
  ): Omit<RowRequest, 'done'> & { readonly done: Promise<void> } {
    const { rowBytes } = rowsOf(tensor);
    const { rows, addresses } = places;
    const extents =
      this.#unbundled?.extents(tensor, places, memory) ??
      bundledExtents(this.#file(tensor), tensor, places, memory);
    const { done, promote, cancel } = this.scheduler.submit(extents, options);
    const checked = done.then(() => {
      rows.forEach((row, i) => {
        const data = new Uint8Array(memory.buffer, addresses[i] ?? 0, rowBytes);
        this.#check({ tensor, first: row, count: 1 }, data);
      });
    });
    checked.catch(() => {}); // the awaiting code sees the error
    return { done: checked, promote, cancel };
  }

  /**
   * Reads adjacent tensors of one file in one go, and checks each.
   * @param tensors in the order of their offsets
   * @param span the sectors that hold them all
   * @param address where `span.bytes` are free; a multiple of a sector
   */
  async readTensors(
    tensors: readonly StoredTensor[],
    span: Span,
    memory: WebAssembly.Memory,
    address: number,
  ): Promise<void> {
    const [head] = tensors;
    if (head === undefined) return;
    const target = new Uint8Array(memory.buffer, address, span.bytes);
    const extent = { file: this.#file(head), position: span.start, target };
    await this.scheduler.submit([extent]).done;
    for (const tensor of tensors) {
      const { rows } = rowsOf(tensor);
      this.#check({ tensor, first: 0, count: rows }, target.subarray(tensor.offset - span.start));
    }
  }

  #file(tensor: StoredTensor): DeviceFile {
    const file = this.#files.get(tensor.file);
    if (file === undefined) {
      throw new InputError(`names no file ${tensor.file}`, { file: this.dir }, convertAgain);
    }
    return file;
  }

  #check({ tensor, first, count }: RowRange, data: Uint8Array): void {
    const { rows, rowBytes } = rowsOf(tensor);
    let verified = this.#verified.get(tensor);
    if (verified === undefined) {
      verified = new Uint8Array(tensor.checksums.length);
      this.#verified.set(tensor, verified);
    }
    const started = performance.now();
    for (let row = first; row < first + count; row += tensor.rowsPerBlock) {
      const block = row / tensor.rowsPerBlock;
      if (verified[block] === 1) continue;
      const begin = (row - first) * rowBytes;
      const end = begin + Math.min(tensor.rowsPerBlock, rows - row) * rowBytes;
      if (crcOf(data.subarray(begin, end)) !== tensor.checksums[block]) {
        throw new InputError(
          'damaged: a checksum does not match',
          {
            file: join(this.dir, tensor.file),
            tensor: tensor.name,
            offset: tensor.offset + row * rowBytes,
          },
          convertAgain,
        );
      }
      verified[block] = 1;
    }
    this.#checkMs += performance.now() - started;
  }
}

/** One extent for each stretch of rows that are adjacent both in the file and in memory. */
function bundledExtents(
  file: DeviceFile,
  tensor: StoredTensor,
  { rows, addresses }: RowPlaces,
  memory: WebAssembly.Memory,
): Extent[] {
  const { rowBytes } = rowsOf(tensor);
  const extents: Extent[] = [];
  for (let i = 0; i < rows.length; ) {
    const row = rows[i] ?? 0;
    const address = addresses[i] ?? 0;
    let n = 1;
    // Rows adjacent in both form one extent.
    while (rows[i + n] === row + n && addresses[i + n] === address + n * rowBytes) n++;
    const target = new Uint8Array(memory.buffer, address, n * rowBytes);
    extents.push({ file, position: tensor.offset + row * rowBytes, target });
    i += n;
  }
  return extents;
}

const convertAgain = 'Convert the checkpoint again, and check the disk';

/**
 * @throws InputError when the file is missing, is not a regular file, or has another length than flash.json
 * says
 */
async function checkSize(path: string, stored: StoredFile): Promise<void> {
  const found = await stat(path).catch(() => null);
  if (found === null) {
    throw new InputError('is missing from the model', { file: path }, convertAgain);
  }
  assertRegular(found, path);
  if (found.size !== stored.bytes) {
    throw new InputError(
      `damaged: it has ${found.size} bytes, flash.json says ${stored.bytes}`,
      { file: path },
      convertAgain,
    );
  }
}

/** CRC-32 of a whole file, read in parts: a tokenizer.json may have 30 MB. */
async function checksumOf(path: string): Promise<string> {
  let sum = 0;
  await eachPiece(path, (piece) => {
    sum = crc32(piece, sum);
  });
  return hex(sum);
}

/** @throws InputError when the checksum of the file or its header is not the recorded one */
function checkSum(path: string, stored: StoredFile, found: string): void {
  if (found !== stored.crc32) {
    throw new InputError(
      'damaged: its checksum does not match',
      { file: path, offset: 0 },
      convertAgain,
    );
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** The header of a safetensors file whose length is not recorded elsewhere, including its length field. */
async function readWholeHeader(file: DeviceFile): Promise<Uint8Array> {
  const damaged = () =>
    new InputError(
      'damaged or truncated: it has no header',
      { file: file.path },
      'Train again with predict-train, or delete the file',
    );
  if (file.size < sectorBytes) throw damaged();
  const start = Buffer.from((await readHeader(file, sectorBytes)).slice());
  const bytes = 8 + Number(start.readBigUInt64LE());
  if (bytes % sectorBytes !== 0 || bytes > file.size || bytes > longestHeader) throw damaged();
  return bytes === sectorBytes ? start : readHeader(file, bytes);
}

/** The longest header of a predictor file: some hundred bytes per layer are needed. */
const longestHeader = 16 * 1024 * 1024;

/** The first bytes of a file, read like its weights: past the page cache where possible. */
async function readHeader(file: DeviceFile, bytes: number): Promise<Uint8Array> {
  const memory = createBuffer(bytes);
  const header = new Uint8Array(memory.buffer, 0, bytes);
  const read = await file.readv([header], 0);
  if (read !== bytes) {
    throw new InputError('its header cannot be read', { file: file.path, offset: 0 }, convertAgain);
  }
  return header;
}
