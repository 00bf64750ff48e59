/** The weights as a forward pass sees them: rows in memory, whether resident or just read. */

import { type Format, inFours, type RowFormat } from '../dtype.ts';
import { InterruptedError } from '../errors.ts';
import { rowsOf, type StoredTensor, weightFormat } from '../flash/manifest.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import { blockOf, cutRows, type RowRange, spanOf } from '../flash/row-range.ts';
import { forEachParallel } from '../parallel.ts';
import { vectorSpan } from '../plan/fixed-layout.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import type { Residence } from '../plan/places.ts';
import { matricesInOrder } from '../plan/weight-order.ts';
import { type Arrangement, memoryOf, packInPlace, type WeightMemory } from './packing.ts';
import { layApart, neuronsApart } from './rows-apart.ts';
import { type LoadedRows, WeightStream } from './weight-stream.ts';

const loadBytes = 1024 * 1024;
const loadsInFlight = 16;

export class Weights {
  readonly #files: ModelFiles;
  readonly #plan: MemoryPlan;
  /** The plan's memories: the first, then its arenas. */
  readonly #memories: readonly WeightMemory[];
  readonly #vectorBase: number;
  readonly #stream: WeightStream | null;
  readonly #streamed = new Map<StoredTensor, RowRange[]>();
  /** Formats of resident rows, where these may differ from the stored ones. */
  readonly #arranged = new Map<StoredTensor, Arrangement>();
  /** Bundles, and how many of their neurons, from the first on, are laid apart. */
  readonly #apart = new Map<StoredTensor, number>();
  #residentBytesUsed = 0;
  #streamedBytesUsed = 0;

  private constructor(files: ModelFiles, plan: MemoryPlan, memories: readonly WeightMemory[]) {
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

  /** Loads the weights that the plan keeps in DRAM, and arranges them for fast computing. */
  static async load(
    files: ModelFiles,
    plan: MemoryPlan,
    memories: readonly WeightMemory[],
    onProgress?: (doneBytes: number, totalBytes: number) => void,
    signal?: AbortSignal,
  ): Promise<Weights> {
    const weights = await Weights.open(files, plan, memories);
    const { matrices, bundles } = matricesInOrder(files.manifest);
    const used = new Set([...matrices, ...bundles]);
    const stored = [...plan.residences.keys()].filter((tensor) => tensor !== plan.headProposal);
    await weights.read(stored, onProgress, signal, (tensor) => {
      if (used.has(tensor)) weights.#arrange(tensor);
    });
    return weights;
  }

  /** Loads norms and biases; matrices follow with {@link read}. */
  static async open(
    files: ModelFiles,
    plan: MemoryPlan,
    memories: readonly WeightMemory[],
  ): Promise<Weights> {
    const weights = new Weights(files, plan, memories);
    const { tensors, address } = plan.vectors;
    const span = vectorSpan(tensors);
    if (span !== null) await files.readTensors(tensors, span, weights.#memory(0), address);
    return weights;
  }

  /** Bytes of weights that passes so far found in DRAM, and bytes that had to be read. */
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

  /** How many rows of a matrix, from the first on, stay in DRAM. */
  residentRows(tensor: StoredTensor): number {
    return this.#plan.residences.get(tensor)?.rows ?? 0;
  }

  /** Address of a matrix's first row, in the memory of its resident rows. Some rows must be resident. */
  firstRow(tensor: StoredTensor): number {
    const residence = this.#plan.residences.get(tensor);
    if (residence === undefined) throw new Error(`no row of ${tensor.name} stays in DRAM`);
    return firstRow(tensor, residence);
  }

  /** Calls `use` with all rows of a matrix in order; the rows are valid only during the call. */
  async eachRows(tensor: StoredTensor, use: (rows: LoadedRows) => void): Promise<void> {
    const { rowBytes } = rowsOf(tensor);
    const residence = this.#plan.residences.get(tensor);
    if (residence !== undefined) {
      const { arena, rows: count } = residence;
      const address = firstRow(tensor, residence);
      const arranged = this.#arrangement(tensor, count);
      const useFrom = (first: number, end: number, how: Arrangement, apart: boolean) => {
        if (first === end) return;
        const { format, packed } = how;
        const at = address + first * rowBytes;
        use({ first, count: end - first, arena, address: at, format, packed, apart });
      };
      const apart = this.#apart.get(tensor) ?? 0;
      useFrom(0, apart, arranged, true);
      useFrom(apart, arranged.rows, arranged, false);
      if (arranged.rows < count) {
        useFrom(arranged.rows, count, this.#asStored(tensor, count), false);
      }
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
   * Calls `use` with the address of each row of a table, in any order; reads rows that are not in DRAM,
   * several blocks at a time.
   * @param use called with the place in `rows`, the address, valid only during the call, and the row's
   * format there
   */
  async lookUp(
    tensor: StoredTensor,
    rows: readonly number[],
    use: (index: number, address: number, format: Format<RowFormat>) => void,
  ): Promise<void> {
    const { rowBytes } = rowsOf(tensor);
    const residence = this.#plan.residences.get(tensor);
    const residentRows = residence?.rows ?? 0;
    const missing: number[] = [];
    rows.forEach((row, index) => {
      if (row < residentRows && residence !== undefined) {
        const { address, format } = this.#row(tensor, residence, row);
        use(index, address, format);
      } else {
        missing.push(index);
      }
    });
    const { format } = this.#asStored(tensor, 0);
    const { address, slots, slotBytes } = this.#plan.rowStaging;
    const { stats } = this.#files.scheduler;
    // Each block is read once, however many of its rows are wanted.
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
      const reads = forEachParallel(group, slots, async (first, lane) => {
        const place = address + lane * slotBytes;
        const block = blockOf(tensor, first);
        addresses.set(first, await this.#files.readRows(block, this.#memory(0), place));
      });
      await stats.awaited(reads);
      for (const [first, start] of addresses) {
        for (const index of wanted.get(first) ?? []) {
          use(index, start + ((rows[index] ?? 0) - first) * rowBytes, format);
        }
      }
    }
  }

  /**
   * Gives up weights that were read ahead and waits for reads in flight: after a pass that was broken off, or
   * before memory and files are released.
   */
  async reset(): Promise<void> {
    await this.#stream?.reset();
  }

  #asStored(tensor: StoredTensor, rows: number): Arrangement & { format: Format<RowFormat> } {
    const format = weightFormat(tensor, this.#files.manifest);
    if (inFours(format)) throw new Error(`${tensor.name} is stored in ${format.name}`);
    return { format: format as Format<RowFormat>, packed: false, rows };
  }

  /** The layout of the first `count` rows, which are resident. */
  #arrangement(tensor: StoredTensor, count: number): Arrangement {
    return this.#arranged.get(tensor) ?? this.#asStored(tensor, count);
  }

  #memory(arena: number): WebAssembly.Memory {
    return memoryOf(this.#memories, arena).memory;
  }

  /** Address of a single resident row in the first memory: where it lies, or copied into staging. */
  #row(
    tensor: StoredTensor,
    residence: Residence,
    row: number,
  ): { readonly address: number; readonly format: Format<RowFormat> } {
    const { rowBytes } = rowsOf(tensor);
    const first = firstRow(tensor, residence);
    const { format, rows } = this.#arrangement(tensor, residence.rows);
    if (row >= rows || !inFours(format)) {
      const address = this.#fetch(residence.arena, first + row * rowBytes, rowBytes);
      const own = row < rows ? format : this.#asStored(tensor, 0).format;
      return { address, format: own as Format<RowFormat> };
    }
    const lane = row % 4;
    const four = this.#fetch(residence.arena, first + (row - lane) * rowBytes, 4 * rowBytes);
    const { address: staging, slotBytes } = this.#plan.rowStaging;
    // The first slots may hold rows that were copied.
    const address = staging + 4 * slotBytes;
    const { fours } = memoryOf(this.#memories, 0).kernels;
    fours[format.name].unpackRow(address, four, lane, tensor.shape[1] ?? 0);
    return { address, format: this.#asStored(tensor, 0).format };
  }

  /** Address in the first memory of bytes that lie in any memory: copied into staging if necessary. */
  #fetch(arena: number, address: number, bytes: number): number {
    if (arena === 0) return address;
    const { address: staging } = this.#plan.rowStaging;
    const there = new Uint8Array(this.#memory(arena).buffer, address, bytes);
    new Uint8Array(this.#memory(0).buffer, staging, bytes).set(there);
    return staging;
  }

  /** Packs the resident rows of a tensor, if its format can be packed, and lays those of neurons apart. */
  #arrange(tensor: StoredTensor): void {
    const residence = this.#plan.residences.get(tensor);
    if (residence === undefined) return;
    const arena = memoryOf(this.#memories, residence.arena);
    const address = firstRow(tensor, residence);
    const { manifest } = this.#files;
    const { rows } = residence;
    this.#arranged.set(tensor, packInPlace(arena, manifest, tensor, address, rows));
    const layer = manifest.layers.find((each) => each.tensor === tensor.name);
    if (layer === undefined) return;
    layApart(arena.memory, address, rows, layer);
    this.#apart.set(tensor, neuronsApart(rows));
  }

  /**
   * Reads the parts of tensors that the plan keeps in DRAM to their planned addresses.
   * @param onTensor called when a tensor is complete, while others are still being read
   */
  async read(
    tensors: readonly StoredTensor[],
    onProgress?: (done: number, total: number) => void,
    signal?: AbortSignal,
    onTensor?: (tensor: StoredTensor) => void,
  ): Promise<void> {
    const left = new Map<StoredTensor, number>();
    // Read in place: a residence is sector-aligned, as is its tensor in the file.
    const pieces = tensors.flatMap((tensor) => {
      const residence = this.#plan.residences.get(tensor);
      if (residence === undefined) return [];
      const { arena, address, rows } = residence;
      const { start } = spanOf({ tensor, first: 0, count: 1 });
      const ranges = cutRows(tensor, loadBytes, 0, rows);
      left.set(tensor, ranges.length);
      return ranges.map((range) => ({ range, arena, base: address - start }));
    });
    const total = pieces.reduce((sum, { range }) => sum + spanOf(range).bytes, 0);
    let done = 0;
    await forEachParallel(pieces, loadsInFlight, async ({ range, arena, base }) => {
      if (signal?.aborted) throw new InterruptedError();
      const { start, bytes } = spanOf(range);
      // Reads them as prefetches: many are in flight, so none needs to be split.
      await this.#files.readRows(range, this.#memory(arena), base + start, 'prefetch');
      done += bytes;
      onProgress?.(done, total);
      // Neighbouring pieces share a sector, so the rows may be changed only after the last piece was read.
      const others = (left.get(range.tensor) ?? 0) - 1;
      left.set(range.tensor, others);
      if (others === 0) onTensor?.(range.tensor);
    });
  }
}

/** Address of a resident tensor's first row. */
function firstRow(tensor: StoredTensor, { address, rows }: Residence): number {
  return address + spanOf({ tensor, first: 0, count: rows }).skip;
}
