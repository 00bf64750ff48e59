/** The weights as a forward pass sees them: rows in memory, whether they stayed or just came. */

import { InterruptedError } from '../errors.ts';
import { rowsOf, type StoredTensor } from '../flash/manifest.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import { blockOf, cutRows, type RowRange, spanOf } from '../flash/row-range.ts';
import { forEachParallel } from '../parallel.ts';
import { vectorSpan } from './fixed-layout.ts';
import type { MemoryPlan } from './plan.ts';
import { type LoadedRows, WeightStream } from './weight-stream.ts';

const loadBytes = 1024 * 1024;
const loadsInFlight = 16;

export class Weights {
  readonly #files: ModelFiles;
  readonly #plan: MemoryPlan;
  /** The plan's memories: the first, then its arenas. */
  readonly #memories: readonly WebAssembly.Memory[];
  readonly #vectorBase: number;
  readonly #stream: WeightStream | null;
  readonly #streamed = new Map<StoredTensor, RowRange[]>();
  #rowWaitMs = 0;
  #residentBytesUsed = 0;
  #streamedBytesUsed = 0;

  private constructor(
    files: ModelFiles,
    plan: MemoryPlan,
    memories: readonly WebAssembly.Memory[],
  ) {
    this.#files = files;
    this.#plan = plan;
    this.#memories = memories;
    this.#vectorBase = plan.vectors.address - (vectorSpan(plan.vectors.tensors)?.start ?? 0);
    this.#stream =
      plan.ring === null ? null : new WeightStream(files, this.#memory(0), plan.ring, plan);
    for (const range of [...plan.body, ...plan.head]) {
      const ranges = this.#streamed.get(range.tensor);
      if (ranges === undefined) this.#streamed.set(range.tensor, [range]);
      else ranges.push(range);
    }
  }

  /** Loads what the plan keeps in DRAM. */
  static async load(
    files: ModelFiles,
    plan: MemoryPlan,
    memories: readonly WebAssembly.Memory[],
    onProgress?: (doneBytes: number, totalBytes: number) => void,
    signal?: AbortSignal,
  ): Promise<Weights> {
    const weights = await Weights.open(files, plan, memories);
    await weights.read([...plan.residences.keys()], onProgress, signal);
    return weights;
  }

  /** Loads norms and biases; matrices follow with {@link read}. */
  static async open(
    files: ModelFiles,
    plan: MemoryPlan,
    memories: readonly WebAssembly.Memory[],
  ): Promise<Weights> {
    const weights = new Weights(files, plan, memories);
    const { tensors, address } = plan.vectors;
    const span = vectorSpan(tensors);
    if (span !== null) await files.readTensors(tensors, span, weights.#memory(0), address);
    return weights;
  }

  /** Time spent waiting for flash, in milliseconds. */
  get waitMs(): number {
    return this.#rowWaitMs + (this.#stream?.waitMs ?? 0);
  }

  /** Bytes of weights that the passes so far used from DRAM, and those that had to be read. */
  get bytesUsed(): { readonly resident: number; readonly streamed: number } {
    return { resident: this.#residentBytesUsed, streamed: this.#streamedBytesUsed };
  }

  /** Announces a forward pass. */
  beginPass(withHead: boolean): void {
    this.#stream?.beginPass(withHead);
  }

  /** Address of a vector (f32), or 0 where the model has none of that name. */
  vector(name: string): number {
    const tensor = this.#files.find(name);
    return tensor === undefined ? 0 : this.#vectorBase + tensor.offset;
  }

  /** Calls `use` with all rows of a matrix in order; the rows are valid only during the call. */
  async eachRows(tensor: StoredTensor, use: (rows: LoadedRows) => void): Promise<void> {
    const { rowBytes } = rowsOf(tensor);
    const residence = this.#plan.residences.get(tensor);
    if (residence !== undefined) {
      const skip = spanOf({ tensor, first: 0, count: residence.rows }).skip;
      const { arena, rows: count } = residence;
      use({ first: 0, count, arena, address: residence.address + skip });
      this.#residentBytesUsed += residence.rows * rowBytes;
    }
    const stream = this.#stream;
    if (stream === null) return;
    for (const range of this.#streamed.get(tensor) ?? []) {
      use(await stream.next(range));
      stream.release();
      this.#streamedBytesUsed += range.count * rowBytes;
    }
  }

  /**
   * Calls `use` with the address of each row of a table, in any order; rows that are not in DRAM are
   * read, several blocks at a time.
   * @param use called with the place in `rows` and the address, valid only during the call
   */
  async lookUp(
    tensor: StoredTensor,
    rows: readonly number[],
    use: (index: number, address: number) => void,
  ): Promise<void> {
    const { rowBytes } = rowsOf(tensor);
    const residence = this.#plan.residences.get(tensor);
    const residentRows = residence?.rows ?? 0;
    const missing: number[] = [];
    rows.forEach((row, index) => {
      if (row < residentRows && residence !== undefined) {
        const { skip } = spanOf({ tensor, first: 0, count: residentRows });
        use(
          index,
          this.#fetch(residence.arena, residence.address + skip + row * rowBytes, rowBytes),
        );
      } else {
        missing.push(index);
      }
    });
    const { address, slots, slotBytes } = this.#plan.rowStaging;
    const started = performance.now();
    // A block is read once, however many of its rows are wanted.
    const wanted = new Map<number, number[]>();
    for (const index of missing) {
      const { first } = blockOf(tensor, rows[index] ?? 0);
      const others = wanted.get(first);
      if (others === undefined) wanted.set(first, [index]);
      else others.push(index);
    }
    const blocks = [...wanted.keys()];
    for (let at = 0; at < blocks.length; at += slots) {
      const group = blocks.slice(at, at + slots);
      const addresses = new Map<number, number>();
      await forEachParallel(group, slots, async (first, lane) => {
        const place = address + lane * slotBytes;
        const block = blockOf(tensor, first);
        addresses.set(first, await this.#files.readRows(block, this.#memory(0), place));
      });
      for (const [first, start] of addresses) {
        for (const index of wanted.get(first) ?? []) {
          use(index, start + ((rows[index] ?? 0) - first) * rowBytes);
        }
      }
    }
    if (missing.length > 0) this.#rowWaitMs += performance.now() - started;
  }

  /**
   * Gives up what was read ahead and waits for reads in flight: after a pass that was broken off, or
   * before memory and files are let go.
   */
  async reset(): Promise<void> {
    await this.#stream?.reset();
  }

  #memory(arena: number): WebAssembly.Memory {
    const memory = this.#memories[arena];
    if (memory === undefined) throw new Error(`the plan has no arena ${arena}`);
    return memory;
  }

  /** Address in the first memory of a row that lies in any: fetched into staging if need be. */
  #fetch(arena: number, address: number, rowBytes: number): number {
    if (arena === 0) return address;
    const { address: staging } = this.#plan.rowStaging;
    const row = new Uint8Array(this.#memory(arena).buffer, address, rowBytes);
    new Uint8Array(this.#memory(0).buffer, staging, rowBytes).set(row);
    return staging;
  }

  /** Reads the parts of tensors that the plan keeps in DRAM to where it keeps them. */
  async read(
    tensors: readonly StoredTensor[],
    onProgress?: (done: number, total: number) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    // Read in place: a residence is sector-aligned, as is its tensor in the file.
    const pieces = tensors.flatMap((tensor) => {
      const residence = this.#plan.residences.get(tensor);
      if (residence === undefined) return [];
      const { arena, address, rows } = residence;
      const { start } = spanOf({ tensor, first: 0, count: 1 });
      return cutRows(tensor, loadBytes, 0, rows).map((range) => ({
        range,
        arena,
        base: address - start,
      }));
    });
    const total = pieces.reduce((sum, { range }) => sum + spanOf(range).bytes, 0);
    let done = 0;
    await forEachParallel(pieces, loadsInFlight, async ({ range, arena, base }) => {
      if (signal?.aborted) throw new InterruptedError();
      const { start, bytes } = spanOf(range);
      // As prefetches, since many of them are in flight: none needs to be split.
      await this.#files.readRows(range, this.#memory(arena), base + start, 'prefetch');
      done += bytes;
      onProgress?.(done, total);
    });
  }
}
