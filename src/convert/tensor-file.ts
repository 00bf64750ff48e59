/** Writes one safetensors file of a model directory, tensor by tensor in the order of its layout. */

import { join } from 'node:path';
import { writeError } from '../errors.ts';
import { crcHex } from '../flash/checksum.ts';
import type { FileLayout, PlacedTensor } from '../flash/layout.ts';
import type { StoredFile, StoredTensor } from '../flash/manifest.ts';
import type { Helper } from './helper.ts';
import type { PendingWrites } from './pending-writes.ts';
import { OwnSums, type TensorSums } from './tensor-sums.ts';
import { WeightFile } from './weight-file.ts';

/** The buffers that hold parts while they are written and the next ones are made. */
export interface PartBuffers {
  readonly memory: WebAssembly.Memory;
  /** The pending writes: a buffer is filled again only after its content is written. */
  readonly pending: PendingWrites;
  /** Computes the checksums of a file if it is free when the file begins; else this thread does. */
  readonly helper: Helper | null;
}

/** A piece of a tensor, and its place in the file. */
interface PlacedPart {
  readonly tensor: PlacedTensor;
  readonly bytes: Uint8Array;
  readonly position: number;
}

export class TensorFileWriter {
  readonly #layout: FileLayout;
  readonly #path: string;
  readonly #file: WeightFile;
  readonly #buffers: PartBuffers | null;

  private constructor(
    layout: FileLayout,
    path: string,
    file: WeightFile,
    buffers: PartBuffers | null,
  ) {
    this.#layout = layout;
    this.#path = path;
    this.#file = file;
    this.#buffers = buffers;
  }

  /**
   * Creates the file in `dir` and writes its header.
   * @param buffers without them, each part is written before the next is requested
   */
  static async create(
    dir: string,
    layout: FileLayout,
    buffers: PartBuffers | null = null,
  ): Promise<TensorFileWriter> {
    const path = join(dir, layout.file);
    try {
      const file = await WeightFile.create(path, layout.bytes, buffers?.memory);
      const writer = new TensorFileWriter(layout, path, file, buffers);
      await writer.#write(layout.header, 0);
      return writer;
    } catch (cause) {
      throw writeError(cause, path);
    }
  }

  /**
   * Writes all tensors of the layout.
   * @param partsOf yields a tensor's bytes in order, as views that stay unchanged until they are written
   * @returns the tensors with their checksums
   */
  async writeTensors(
    partsOf: (tensor: PlacedTensor) => AsyncIterable<Uint8Array>,
  ): Promise<StoredTensor[]> {
    const { tensors } = this.#layout;
    const numbers = new Map(tensors.map((tensor, number) => [tensor, number]));
    const sums = this.#sums();
    const parts = this.#parts(partsOf);
    const next = () => {
      const coming = parts.next();
      coming.catch(() => {}); // it is awaited, unless a write failed before
      return coming;
    };
    try {
      for (let coming = next(); ; ) {
        const { value: part, done } = await coming;
        if (done === true) break;
        const { bytes } = part;
        const number = numbers.get(part.tensor) ?? -1;
        const writing = this.#write(bytes, part.position);
        this.#buffers?.pending.begin(bytes, writing);
        // Another thread must be done with the part before its buffer is filled again, too.
        if (sums.concurrent) this.#buffers?.pending.begin(bytes, sums.add(number, bytes));
        // The next part is read while the checksum of this one is computed, even if the next part begins
        // another tensor.
        if (this.#buffers !== null) coming = next();
        if (!sums.concurrent) await sums.add(number, bytes);
        if (this.#buffers !== null) continue;
        await writing;
        coming = next();
      }
      await this.#buffers?.pending.allEnded();
    } catch (error) {
      // Otherwise reads and writes under way would use buffers that are released.
      await parts.return(undefined).catch(() => {});
      await this.#buffers?.pending.settled();
      throw error;
    }
    const checksums = await sums.finish();
    return tensors.map((tensor, number) => ({
      ...tensor,
      checksums: checksums[number] ?? new Uint32Array(0),
    }));
  }

  #sums(): TensorSums {
    const bytes = this.#layout.tensors.map(blockBytes);
    const { helper, memory } = this.#buffers ?? {};
    return memory && helper?.isFree ? helper.sums(memory, bytes) : new OwnSums(bytes);
  }

  async *#parts(
    partsOf: (tensor: PlacedTensor) => AsyncIterable<Uint8Array>,
  ): AsyncGenerator<PlacedPart> {
    for (const tensor of this.#layout.tensors) {
      let written = 0;
      for await (const bytes of partsOf(tensor)) {
        yield { tensor, bytes, position: tensor.offset + written };
        written += bytes.length;
      }
      if (written !== tensor.bytes) {
        throw new Error(`${tensor.name}: ${written} of ${tensor.bytes} bytes written`);
      }
    }
  }

  /** Gives the file its full length, flushes it to the device, and closes it. */
  async finish(): Promise<StoredFile> {
    const { bytes, header } = this.#layout;
    try {
      await this.#file.finish();
    } catch (cause) {
      throw writeError(cause, this.#path);
    }
    return { bytes, crc32: crcHex(header), headerBytes: header.length };
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #write(data: Uint8Array, position: number): Promise<void> {
    try {
      await this.#file.write(data, position);
    } catch (cause) {
      throw writeError(cause, this.#path);
    }
  }
}

/** The rows that one checksum covers. */
function blockBytes({ shape, bytes, rowsPerBlock }: PlacedTensor): number {
  const rows = shape.length > 1 ? (shape[0] ?? 1) : 1;
  return (bytes / rows) * rowsPerBlock;
}
