/** The weights as a forward pass sees them: rows in memory, whether resident or just read. */

import { type Format, inFours, type RowFormat } from '../dtype.ts';
import { rowsOf, type StoredTensor } from '../flash/manifest.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import { blockOf, type RowRange } from '../flash/row-range.ts';
import { forEachParallel } from '../parallel.ts';
import { vectorSpan } from '../plan/fixed-layout.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { matricesInOrder } from '../plan/weight-order.ts';
import { memoryOf, type WeightMemory } from './packing.ts';
import { loadRows, type PlacedRows, ResidentRows, storedFormat } from './resident-rows.ts';
import { type LoadedRows, WeightStream } from './weight-stream.ts';

export class Weights {
  readonly #files: ModelFiles;
  readonly #plan: MemoryPlan;
  /** The plan's memories: the first, then its arenas. */
  readonly #memories: readonly WeightMemory[];
  readonly #vectorBase: number;
  readonly #stream: WeightStream | null;
  #streamed: ReadonlyMap<StoredTensor, readonly RowRange[]>;
  /** Per tensor, its rows in DRAM from the first one on. */
  readonly #resident = new Map<StoredTensor, readonly ResidentRows[]>();
  /** Tensors whose rows kernels use one after the other, so that it pays to arrange them. */
  readonly #used: ReadonlySet<StoredTensor>;
  #residentBytesUsed = 0;
  #streamedBytesUsed = 0;

  private constructor(files: ModelFiles, plan: MemoryPlan, memories: readonly WeightMemory[]) {
    this.#files = files;
    this.#plan = plan;
    this.#memories = memories;
    this.#vectorBase = plan.vectors.address - (vectorSpan(plan.vectors.tensors)?.start ?? 0);
    this.#stream =
      plan.ring === null ? null : new WeightStream(files, this.#memory(0), plan.ring, plan);
    this.#streamed = byTensor(plan);
    const { matrices, bundles } = matricesInOrder(files.manifest);
    this.#used = new Set([...matrices, ...bundles]);
    for (const [tensor, { arena, address, rows: count }] of plan.residences) {
      const place = { tensor, first: 0, count, arena, address };
      this.#resident.set(tensor, [ResidentRows.asStored(place, files.manifest)]);
    }
  }

  /**
   * Loads the weights that the plan keeps in DRAM, and arranges them for fast computing.
   * @param memories the plan's; {@link extend} uses those that were added to the list meanwhile
   */
  static async load(
    files: ModelFiles,
    plan: MemoryPlan,
    memories: readonly WeightMemory[],
    onProgress?: (doneBytes: number, totalBytes: number) => void,
    signal?: AbortSignal,
  ): Promise<Weights> {
    const weights = await Weights.open(files, plan, memories);
    const stored = [...plan.residences.keys()].filter((tensor) => tensor !== plan.headProposal);
    await weights.read(stored, onProgress, signal, ({ tensor }) => {
      if (!weights.#used.has(tensor)) return;
      const own = weights.#resident.get(tensor) ?? [];
      const arranged = own.map((rows) => rows.arranged(memories, files.manifest));
      weights.#resident.set(tensor, arranged);
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
    const all = this.#resident.get(tensor) ?? [];
    return all.reduce((sum, { place }) => sum + place.count, 0);
  }

  /** Address of a matrix's first row, in the memory of its resident rows. Some rows must be resident. */
  firstRow(tensor: StoredTensor): number {
    const [rows] = this.#resident.get(tensor) ?? [];
    if (rows === undefined) throw new Error(`no row of ${tensor.name} stays in DRAM`);
    return rows.address;
  }

  /** Calls `use` with all rows of a matrix in order; the rows are valid only during the call. */
  async eachRows(tensor: StoredTensor, use: (rows: LoadedRows) => void): Promise<void> {
    const { rowBytes } = rowsOf(tensor);
    for (const { pieces, place } of this.#resident.get(tensor) ?? []) {
      for (const piece of pieces) use(piece);
      this.#residentBytesUsed += place.count * rowBytes;
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
    const resident = this.#resident.get(tensor) ?? [];
    const missing: number[] = [];
    rows.forEach((row, index) => {
      const holder = resident.find((each) => each.has(row));
      if (holder !== undefined) {
        const { address, format } = this.#row(holder, row);
        use(index, address, format);
      } else {
        missing.push(index);
      }
    });
    const format = storedFormat(tensor, this.#files.manifest);
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

  #memory(arena: number): WebAssembly.Memory {
    return memoryOf(this.#memories, arena).memory;
  }

  /** Address of a single resident row in the first memory: where it lies, or copied into staging. */
  #row(
    holder: ResidentRows,
    row: number,
  ): { readonly address: number; readonly format: Format<RowFormat> } {
    const { tensor, arena, first } = holder.place;
    const { rowBytes } = rowsOf(tensor);
    const { format, rows } = holder.arrangement;
    const stored = storedFormat(tensor, this.#files.manifest);
    const isArranged = row - first < rows;
    if (!isArranged || !inFours(format)) {
      const address = this.#fetch(arena, holder.addressOf(row), rowBytes);
      return { address, format: isArranged ? (format as Format<RowFormat>) : stored };
    }
    const lane = (row - first) % 4;
    const four = this.#fetch(arena, holder.addressOf(row - lane), 4 * rowBytes);
    const { address: staging, slotBytes } = this.#plan.rowStaging;
    // The first slots may hold rows that were copied.
    const address = staging + 4 * slotBytes;
    const { fours } = memoryOf(this.#memories, 0).kernels;
    fours[format.name].unpackRow(address, four, lane, tensor.shape[1] ?? 0);
    return { address, format: stored };
  }

  /** Address in the first memory of bytes that lie in any memory: copied into staging if necessary. */
  #fetch(arena: number, address: number, bytes: number): number {
    if (arena === 0) return address;
    const { address: staging } = this.#plan.rowStaging;
    const there = new Uint8Array(this.#memory(arena).buffer, address, bytes);
    new Uint8Array(this.#memory(0).buffer, staging, bytes).set(there);
    return staging;
  }

  /**
   * Reads the parts of tensors that the plan keeps in DRAM to their planned addresses.
   * @param onTensor called when a tensor is complete, while others are still being read
   */
  async read(
    tensors: readonly StoredTensor[],
    onProgress?: (done: number, total: number) => void,
    signal?: AbortSignal,
    onTensor?: (place: PlacedRows) => void,
  ): Promise<void> {
    const places = tensors
      .flatMap((tensor) => this.#resident.get(tensor) ?? [])
      .map(({ place }) => place);
    const options = { onProgress, signal, onLoaded: onTensor };
    await loadRows(this.#files, this.#memories, places, options);
  }

  /**
   * Loads the extensions of a plan, and streams no more than this plan says from then on. No pass may be in
   * flight. After a failure everything is as before.
   * @param plan this one's, extended by an arena, which is the last of the memories
   */
  async extend(plan: MemoryPlan, signal?: AbortSignal): Promise<void> {
    await this.reset();
    const { manifest } = this.#files;
    const places = [...plan.extensions].map(
      ([tensor, { arena, address, first, rows: count }]): PlacedRows => ({
        ...{ tensor, arena, address, first, count },
      }),
    );
    const loaded: ResidentRows[] = [];
    const onLoaded = (place: PlacedRows) => {
      const rows = ResidentRows.asStored(place, manifest);
      const used = this.#used.has(place.tensor);
      loaded.push(used ? rows.arranged(this.#memories, manifest) : rows);
    };
    await loadRows(this.#files, this.#memories, places, { signal, onLoaded });
    for (const rows of loaded) {
      const { tensor } = rows.place;
      this.#resident.set(tensor, [...(this.#resident.get(tensor) ?? []), rows]);
    }
    this.#stream?.replace(plan);
    this.#streamed = byTensor(plan);
  }
}

/** The streamed ranges of each tensor. */
function byTensor({ body, head }: MemoryPlan): ReadonlyMap<StoredTensor, readonly RowRange[]> {
  const streamed = new Map<StoredTensor, RowRange[]>();
  for (const range of [...body, ...head]) {
    const ranges = streamed.get(range.tensor);
    if (ranges === undefined) streamed.set(range.tensor, [range]);
    else ranges.push(range);
  }
  return streamed;
}
