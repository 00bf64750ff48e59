/** Writes one safetensors file of a model directory, tensor by tensor in the order of its layout. */

import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { createFile, writeFully } from '../aside.ts';
import { writeError } from '../errors.ts';
import { BlockChecksums, crcHex } from '../flash/checksum.ts';
import type { FileLayout, PlacedTensor } from '../flash/layout.ts';
import type { StoredFile, StoredTensor } from '../flash/manifest.ts';

export class TensorFileWriter {
  readonly #layout: FileLayout;
  readonly #path: string;
  readonly #handle: FileHandle;

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
   * @param parts views that stay unchanged until the next part is asked for
   */
  async writeTensor(tensor: PlacedTensor, parts: AsyncIterable<Uint8Array>): Promise<StoredTensor> {
    const rows = tensor.shape.length > 1 ? (tensor.shape[0] ?? 1) : 1;
    const sums = new BlockChecksums((tensor.bytes / rows) * tensor.rowsPerBlock);
    let written = 0;
    for await (const part of parts) {
      const writing = this.#write(part, tensor.offset + written);
      sums.add(part); // while the write is under way
      await writing;
      written += part.length;
    }
    if (written !== tensor.bytes) {
      throw new Error(`${tensor.name}: ${written} of ${tensor.bytes} bytes written`);
    }
    return { ...tensor, checksums: sums.finish() };
  }

  /** Extends the file to its full length and closes it. */
  async finish(): Promise<StoredFile> {
    const { bytes, header } = this.#layout;
    try {
      await this.#handle.truncate(bytes);
      await this.#handle.sync(); // here, since Windows flushes only what is open for writing
    } catch (cause) {
      throw writeError(cause, this.#path);
    }
    await this.close();
    return { bytes, crc32: crcHex(header), headerBytes: header.length };
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #write(data: Uint8Array, position: number): Promise<void> {
    try {
      await writeFully(this.#handle, data, position);
    } catch (cause) {
      throw writeError(cause, this.#path);
    }
  }
}
