/** Writes one safetensors file of a model directory, tensor by tensor in the order of its layout. */

import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { createFile, writeFully } from '../aside.ts';
import { writeError } from '../errors.ts';
import { BlockChecksums, crcHex } from '../flash/checksum.ts';
import type { FileLayout, PlacedTensor } from '../flash/layout.ts';
import type { StoredFile, StoredTensor } from '../flash/manifest.ts';
import { MIB } from '../units.ts';
import type { PendingWrites } from './pending-writes.ts';

/** Bytes that are written before the device is told to store them. */
const flushBytes = 64 * MIB;

export class TensorFileWriter {
  readonly #layout: FileLayout;
  readonly #path: string;
  readonly #handle: FileHandle;
  /** Bytes written since the last flush began. */
  #unflushed = 0;
  #flushing: Promise<void> | null = null;

  private constructor(layout: FileLayout, path: string, handle: FileHandle) {
    this.#layout = layout;
    this.#path = path;
    this.#handle = handle;
  }

  /** Creates the file in `dir` and writes its header. */
  static async create(dir: string, layout: FileLayout): Promise<TensorFileWriter> {
    const path = join(dir, layout.file);
    try {
      const writer = new TensorFileWriter(layout, path, await createFile(path));
      await writer.#write(layout.header, 0);
      return writer;
    } catch (cause) {
      throw writeError(cause, path);
    }
  }

  /**
   * Writes one tensor from parts in order.
   * @param parts views that stay unchanged until they are written
   * @param pending where writes are noted that go on while the next parts are made, and when it returns;
   * without it, each part is written before the next is asked for
   */
  async writeTensor(
    tensor: PlacedTensor,
    parts: AsyncIterable<Uint8Array>,
    pending?: PendingWrites,
  ): Promise<StoredTensor> {
    const rows = tensor.shape.length > 1 ? (tensor.shape[0] ?? 1) : 1;
    const sums = new BlockChecksums((tensor.bytes / rows) * tensor.rowsPerBlock);
    let written = 0;
    for await (const part of parts) {
      const writing = this.#write(part, tensor.offset + written);
      pending?.begin(part, writing);
      sums.add(part); // while the write is under way
      if (pending === undefined) await writing;
      written += part.length;
    }
    if (written !== tensor.bytes) {
      throw new Error(`${tensor.name}: ${written} of ${tensor.bytes} bytes written`);
    }
    return { ...tensor, checksums: sums.finish() };
  }

  /** Extends the file to its full length and closes it; no write may be pending. */
  async finish(): Promise<StoredFile> {
    const { bytes, header } = this.#layout;
    try {
      await this.#flushing;
      await this.#handle.truncate(bytes);
      await this.#handle.sync(); // here, since Windows flushes only what is open for writing
    } catch (cause) {
      throw writeError(cause, this.#path);
    }
    await this.close();
    return { bytes, crc32: crcHex(header), headerBytes: header.length };
  }

  async close(): Promise<void> {
    await this.#flushing?.catch(() => {});
    await this.#handle.close();
  }

  /** Has the device begin with what is written, so that the last flush has not all of it to wait for. */
  #flush(): void {
    if (this.#flushing !== null || this.#unflushed < flushBytes) return;
    this.#unflushed = 0;
    const flushing = this.#handle.datasync().then(() => {
      this.#flushing = null;
    });
    flushing.catch(() => {}); // whoever finishes sees the error
    this.#flushing = flushing;
  }

  async #write(data: Uint8Array, position: number): Promise<void> {
    try {
      await writeFully(this.#handle, data, position);
      this.#unflushed += data.length;
      this.#flush();
    } catch (cause) {
      throw writeError(cause, this.#path);
    }
  }
}
