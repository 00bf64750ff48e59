/**
 * The samples from which one layer's predictor learns: for each token the FFN's input, and the neurons that
 * fired with their magnitudes. As many records as fit stay in memory, the others go to a file.
 *
 *     record of a token   | x: hidden f32 | n | n ids, u32 | n magnitudes, f32 |
 */

import { closeSync, readSync, rmSync, writeSync } from 'node:fs';
import { recreateFileSync } from '../aside.ts';
import { writeError } from '../errors.ts';

const f32Bytes = 4;
const blockBytes = 1024 * 1024;

export interface SampleSizes {
  /** Tokens of the corpus; the last `heldOut` of them are not used for learning. */
  readonly tokens: number;
  readonly heldOut: number;
  readonly hidden: number;
  readonly neurons: number;
}

export class Samples implements SampleSizes {
  readonly tokens: number;
  readonly heldOut: number;
  readonly hidden: number;
  readonly neurons: number;
  readonly #memory: WebAssembly.Memory;
  readonly #spill: Spill;
  /** Where each token's record begins, and the last one ends. */
  readonly #offsets: Float64Array;
  #count = 0;
  #record: Buffer;

  /**
   * @param memory the memory that {@link read} writes to
   * @param room bytes that records may take in memory
   * @param file the file for the others; created when needed, and removed by {@link close}
   */
  constructor(sizes: SampleSizes, memory: WebAssembly.Memory, room: number, file: string) {
    this.tokens = sizes.tokens;
    this.heldOut = sizes.heldOut;
    this.hidden = sizes.hidden;
    this.neurons = sizes.neurons;
    this.#memory = memory;
    this.#spill = new Spill(room, file);
    this.#offsets = new Float64Array(sizes.tokens + 1);
    this.#record = Buffer.alloc(f32Bytes * (sizes.hidden + 1 + 2 * sizes.neurons));
  }

  /** Bytes that are needed whatever the room. */
  static fixedBytes({ tokens, hidden, neurons }: SampleSizes): number {
    return 8 * (tokens + 1) + f32Bytes * (hidden + 1 + 2 * neurons) + blockBytes;
  }

  /** Tokens added so far. */
  get count(): number {
    return this.#count;
  }

  /** Forgets all, for the next layer. */
  restart(): void {
    this.#count = 0;
  }

  /**
   * Adds the next token.
   * @param x (hidden)
   * @param activations (neurons); those that are not 0 are kept
   */
  add(x: Float32Array, activations: Float32Array): void {
    const record = this.#record;
    const words = new Uint32Array(record.buffer, record.byteOffset, record.length / 4);
    const floats = new Float32Array(record.buffer, record.byteOffset, record.length / 4);
    floats.set(x);
    let n = 0;
    const ids = this.hidden + 1;
    for (let i = 0; i < activations.length; i++) if (activations[i] !== 0) words[ids + n++] = i;
    words[this.hidden] = n;
    for (let i = 0; i < n; i++) floats[ids + n + i] = activations[words[ids + i] ?? 0] ?? 0;
    const bytes = f32Bytes * (ids + 2 * n);
    const start = this.#offsets[this.#count] ?? 0;
    this.#spill.write(record.subarray(0, bytes), start);
    this.#offsets[++this.#count] = start + bytes;
  }

  /**
   * Writes the inputs of these tokens to `x`, (n, hidden) f32, and their neurons' activations to
   * `activations`, (n, neurons) f32.
   */
  read(indices: ArrayLike<number>, x: number, activations: number): void {
    const { buffer } = this.#memory;
    const { hidden, neurons } = this;
    new Float32Array(buffer, activations, indices.length * neurons).fill(0);
    for (let row = 0; row < indices.length; row++) {
      const index = indices[row] ?? 0;
      const start = this.#offsets[index] ?? 0;
      const bytes = (this.#offsets[index + 1] ?? 0) - start;
      const record = this.#record.subarray(0, bytes);
      this.#spill.read(record, start);
      const words = new Uint32Array(record.buffer, record.byteOffset, bytes / 4);
      const floats = new Float32Array(record.buffer, record.byteOffset, bytes / 4);
      new Float32Array(buffer, x + row * hidden * f32Bytes, hidden).set(floats.subarray(0, hidden));
      const target = new Float32Array(buffer, activations + row * neurons * f32Bytes, neurons);
      const n = words[hidden] ?? 0;
      const ids = hidden + 1;
      for (let i = 0; i < n; i++) target[words[ids + i] ?? 0] = floats[ids + n + i] ?? 0;
    }
  }

  /** How many neurons fired at a token. */
  activeCount(index: number): number {
    const bytes = (this.#offsets[index + 1] ?? 0) - (this.#offsets[index] ?? 0);
    return (bytes / f32Bytes - this.hidden - 1) / 2;
  }

  /** The neurons that fired at a token, in ascending order. */
  active(index: number): Uint32Array {
    const ids = new Uint32Array(this.activeCount(index));
    const bytes = Buffer.from(ids.buffer);
    this.#spill.read(bytes, (this.#offsets[index] ?? 0) + f32Bytes * (this.hidden + 1));
    return ids;
  }

  close(): void {
    this.#spill.close();
  }
}

/** Bytes in blocks, of which the first are in memory. */
class Spill {
  readonly #inMemory: number;
  readonly #file: string;
  readonly #blocks: Buffer[] = [];
  #fd: number | null = null;

  constructor(room: number, file: string) {
    this.#inMemory = Math.floor(room / blockBytes) * blockBytes;
    this.#file = file;
  }

  write(data: Buffer, position: number): void {
    const inMemory = Math.max(0, Math.min(data.length, this.#inMemory - position));
    for (let done = 0; done < inMemory; ) {
      const at = (position + done) % blockBytes;
      done += data.copy(this.#block(position + done), at, done, inMemory);
    }
    this.#toFile(data.subarray(inMemory), position + inMemory);
  }

  read(target: Buffer, position: number): void {
    const inMemory = Math.max(0, Math.min(target.length, this.#inMemory - position));
    for (let done = 0; done < inMemory; ) {
      const at = (position + done) % blockBytes;
      const end = Math.min(blockBytes, at + inMemory - done);
      done += this.#block(position + done).copy(target, done, at, end);
    }
    for (let done = inMemory; done < target.length; ) {
      const bytes = readSync(this.#open(), target, done, target.length - done, position + done);
      if (bytes === 0) throw new Error(`${this.#file} ends at ${position + done}`);
      done += bytes;
    }
  }

  close(): void {
    if (this.#fd === null) return;
    closeSync(this.#fd);
    rmSync(this.#file, { force: true });
    this.#fd = null;
  }

  #block(position: number): Buffer {
    const index = Math.floor(position / blockBytes);
    let block = this.#blocks[index];
    if (block === undefined) {
      block = Buffer.allocUnsafeSlow(blockBytes);
      this.#blocks[index] = block;
    }
    return block;
  }

  #toFile(data: Buffer, position: number): void {
    try {
      for (let done = 0; done < data.length; ) {
        done += writeSync(this.#open(), data, done, data.length - done, position + done);
      }
    } catch (cause) {
      throw writeError(cause, this.#file);
    }
  }

  #open(): number {
    this.#fd ??= recreateFileSync(this.#file);
    return this.#fd;
  }
}
