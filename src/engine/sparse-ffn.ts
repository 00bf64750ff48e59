/**
 * An FFN over the units that its selector wants: units in DRAM are computed while the missing ones are read
 * directly into slots of the unit store, or into staging where they are not worth a slot.
 *
 *     select ── list ─┬─ part 1: read missing │ compute what is there │ wait │ compute the rest
 *                     └─ part 2:   read ......................              │ compute ...
 *
 * The list, its order and the sums depend on the selection alone, so that the result is the same to
 * the bit at every budget, for every policy, and for any number of threads.
 *
 * `begin` selects units and starts to read: reads hide behind the work that is done before `finish`.
 */

import { neuronGeometry } from '../flash/ffn-units.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import type { ModelSpec } from '../models/spec.ts';
import { groupSize, neuronBlock } from '../plan/list-layout.ts';
import { memoryOf } from '../residency/packing.ts';
import { noSlot, unitState } from '../residency/unit-store.ts';
import { addressOf, type LayerStore, type UnitStores } from '../residency/unit-stores.ts';
import { yieldToEventLoop } from '../yield-to-event-loop.ts';
import type { AllActivations } from './all-activations.ts';
import type { BegunFfn, Ffn, FfnCounts, FfnOutput } from './ffn.ts';
import type { ListArena, ListPart, ListTask } from './list-arena.ts';
import { BitSelection, type FfnInput, type Selector } from './selection.ts';

export interface SparseParts {
  readonly files: ModelFiles;
  /** One for each of the plan's memories. */
  readonly arenas: readonly ListArena[];
  readonly selector: Selector<BitSelection>;
  readonly stores: UnitStores;
  /** The most positions at once. */
  readonly chunk: number;
  /** For models whose down projection waits for the activations of all neurons. */
  readonly all: AllActivations | null;
}

/** Counts of all passes so far; bytes are those of whole bundles. */
export interface SparseCounters {
  /** Bytes of wanted neurons that were in DRAM, and of those that had to be read. */
  readonly residentBytes: number;
  readonly streamedBytes: number;
  /** Time spent on book-keeping, in milliseconds. */
  readonly storeMs: number;
}

/** An FFN that has begun. */
interface ListedFfn {
  readonly input: FfnInput;
  readonly layer: LayerStore;
  readonly selection: BitSelection;
  readonly parts: readonly PlannedPart[];
  /** The parts whose reads have begun. */
  readonly reads: Reads[];
  readonly speculation: SpeculativeRead | null;
}

/** Neurons of a layer that are read ahead. */
interface SpeculativeRead {
  readonly layer: LayerStore;
  readonly neurons: readonly number[];
  readonly reads: Reads;
}

/** A part of a list with its reads. */
interface PlannedPart extends ListPart {
  /** Neurons to read, and to which addresses. */
  readonly rows: readonly number[];
  readonly targets: readonly number[];
}

type Reads = ReturnType<ModelFiles['requestScattered']>;

export class SparseFfn implements Ffn {
  readonly #parts: SparseParts;
  readonly #spec: ModelSpec;
  #residentBytes = 0;
  #streamedBytes = 0;
  #storeMs = 0;
  #speculation: SpeculativeRead | null = null;
  /** Of the FFN that has begun. */
  readonly #selection: BitSelection;
  readonly #guess: BitSelection;
  #begun = false;

  constructor(parts: SparseParts) {
    this.#parts = parts;
    const units = Math.max(...parts.stores.layers.map(({ store }) => store.units));
    this.#selection = new BitSelection({ units, rows: parts.chunk });
    this.#guess = new BitSelection({ units, rows: 1 });
    this.#spec = parts.files.manifest.spec;
  }

  get counters(): SparseCounters {
    return {
      residentBytes: this.#residentBytes,
      streamedBytes: this.#streamedBytes,
      storeMs: this.#storeMs,
    };
  }

  /**
   * Begins to read the neurons that the layer will probably want. The guess takes the input that the FFN
   * would have without this block's attention; the reads run while attention is computed. {@link begin}
   * decides which neurons are computed, so that only the time depends on the guess. The next call must be the
   * layer's `begin`, or {@link cancelSpeculation}.
   */
  speculate(input: FfnInput): void {
    const { files, stores, selector } = this.#parts;
    const layer = stores.layer(input.layer);
    const guess = selector.select(input, this.#guess).units;
    const started = performance.now();
    const { units: neurons, slots } = layer.store.speculate(guess);
    const addresses = slots.map((slot) => addressOf(layer, slot));
    this.#storeMs += performance.now() - started;
    const { memory } = this.#arena(layer);
    const options = { priority: 'prefetch', eager: true } as const;
    const places = { rows: neurons, addresses };
    const reads = files.requestScattered(layer.tensor, places, memory, options);
    this.#speculation = { layer, neurons, reads };
  }

  /** Whether it pays to {@link speculate} before a layer's attention. */
  speculates(layer: number, positions: number): boolean {
    return positions === 1 && this.#parts.stores.layer(layer).throttle.open;
  }

  /** Lets reads in flight proceed, when a layer's attention is half done. */
  async yieldToReads(): Promise<void> {
    if (this.#speculation !== null) await yieldToEventLoop();
  }

  /** Gives up speculative reads for a layer that will not come. */
  async cancelSpeculation(): Promise<void> {
    const speculation = this.#speculation;
    this.#speculation = null;
    if (speculation !== null) await this.#giveUp(speculation);
  }

  /**
   * Selects units, finds places for the missing ones, and begins to read them. Only one FFN may be begun at a
   * time; it must be finished or abandoned before the next one.
   */
  begin(input: FfnInput): BegunFfn {
    if (this.#begun) throw new Error('an FFN has begun and is neither finished nor abandoned');
    const { stores, selector } = this.#parts;
    const layer = stores.layer(input.layer);
    const selection = selector.select(input, this.#selection);
    const speculation = this.#speculation;
    this.#speculation = null;
    speculation?.reads.promote();
    // A token without a guess brings the layer's next trial nearer.
    if (speculation === null && input.positions === 1) layer.throttle.skip();
    const started = performance.now();
    const parts = this.#plan(layer, selection.units, speculation);
    this.#storeMs += performance.now() - started;
    const begun: ListedFfn = { input, layer, selection, parts, reads: [], speculation };
    this.#begun = true;
    this.#readUpTo(begun, 1);
    return {
      finish: (output) => this.#finish(begun, output),
      abandon: () => this.#abandon(begun),
    };
  }

  async #finish(begun: ListedFfn, { y, bias, gateBias }: FfnOutput): Promise<FfnCounts> {
    const { input, layer, selection, parts, reads, speculation } = begun;
    const geometry = neuronGeometry(layer.units);
    if (geometry === null) throw new Error(`units of ${layer.units.tensor} are not single neurons`);
    const { upOffset, downOffset } = geometry;
    const task: ListTask = {
      format: layer.format,
      upOffset,
      downOffset,
      unitBytes: layer.units.unitBytes,
      ffn: this.#spec.ffn,
      hidden: this.#spec.hiddenSize,
      positions: input.positions,
      x: input.x,
      y,
      bias,
      gateBias,
      selection,
      group: groupSize(selection.count),
    };
    const arena = this.#arena(layer);
    const { stats } = this.#parts.files.scheduler;
    try {
      arena.begin(task);
      const { all } = this.#parts;
      const gathered = all && { values: all.begin(task.positions), neurons: all.neurons };
      const columns: Uint32Array[] = [];
      let active = 0;
      for (const [index, part] of parts.entries()) {
        this.#readUpTo(begun, index + 1);
        arena.early(task, part);
        if (index === 0 && speculation !== null) await stats.awaited(speculation.reads.done);
        const own = reads[index];
        if (own !== undefined && own !== null) await stats.awaited(own.done);
        if (gathered === null) {
          active += arena.finish(task, part);
          continue;
        }
        const found = arena.gather(task, part, gathered);
        active += found.active;
        columns.push(found.columns);
      }
      if (gathered !== null) {
        all?.finish(input.layer, task.positions);
        for (const [index, part] of parts.entries()) {
          arena.contribute(task, part, gathered, columns[index] ?? new Uint32Array(0));
        }
      }
      arena.end(task);
      // Where no unit is wanted, no part has waited for reads, and some may still be in flight.
      await speculation?.reads.done;
      layer.store.commit();
      this.#begun = false;
      return { neurons: selection.count * input.positions, active };
    } catch (error) {
      await this.#abandon(begun);
      throw error;
    }
  }

  /** Ends the begun FFN without a result; units whose reads did not complete do not count as resident. */
  async #abandon({ layer, parts, reads, speculation }: ListedFfn): Promise<void> {
    // Reads in flight must not write into memory that is used for something else.
    this.#begun = false;
    await Promise.all(reads.map((ticket) => ticket.cancel()));
    for (const { rows } of parts) for (const neuron of rows) layer.store.forget(neuron);
    if (speculation !== null) await this.#giveUp(speculation);
  }

  async #giveUp({ layer, neurons, reads }: SpeculativeRead): Promise<void> {
    await reads.cancel();
    for (const neuron of neurons) layer.store.forget(neuron);
    layer.store.commit();
  }

  /** Reads the parts up to `last`: two of them, as each half of the staging serves one. */
  #readUpTo({ layer, parts, reads }: ListedFfn, last: number): void {
    const { memory } = this.#arena(layer);
    for (const { rows, targets: addresses } of parts.slice(reads.length, last + 1)) {
      // Starts all reads at once: computing blocks the event loop, which could then not start further reads.
      const places = { rows, addresses };
      const options = { eager: true };
      reads.push(this.#parts.files.requestScattered(layer.tensor, places, memory, options));
    }
  }

  /** Finds the units that are in DRAM and places for the others, and cuts the list into parts. */
  #plan(
    layer: LayerStore,
    wanted: Uint32Array,
    speculation: SpeculativeRead | null,
  ): PlannedPart[] {
    const {
      store,
      units: { unitBytes },
    } = layer;
    const count = wanted.length;
    const { slots, states, resident, inFlight } = store.want(wanted, count);
    if (speculation !== null) {
      const wasted = speculation.neurons.length - inFlight;
      layer.throttle.learn(inFlight, wasted, count - resident - inFlight);
      // Applies from the next step on; this step has made its room already.
      store.reserve = layer.throttle.reserve;
    }
    this.#residentBytes += resident * unitBytes;
    this.#streamedBytes += (count - resident) * unitBytes;
    const staging = this.#arena(layer).place.staging;
    const half = (staging?.slots ?? 0) / 2;
    const group = groupSize(store.units);
    const parts: PlannedPart[] = [];
    for (let from = 0; from < count; ) {
      const rows: number[] = [];
      const targets: number[] = [];
      const addresses = new Uint32Array(Math.min(neuronBlock, count - from));
      const stagingFrom = (staging?.address ?? 0) + (parts.length % 2) * half * unitBytes;
      let staged = 0;
      let n = 0;
      for (; n < addresses.length; n++) {
        const slot = slots[from + n] ?? noSlot;
        if (slot === noSlot && staged === half) break;
        const address =
          slot === noSlot ? stagingFrom + staged++ * unitBytes : addressOf(layer, slot);
        addresses[n] = address;
        if (states[from + n] !== unitState.missing) continue;
        rows.push(wanted[from + n] ?? 0);
        targets.push(address);
      }
      if (n === 0) throw new Error('neither a slot nor staging for a wanted neuron');
      const end = from + n;
      parts.push({
        count: n,
        ids: wanted.subarray(from, end),
        addresses,
        early: states.slice(from, end).map((state) => (state === unitState.resident ? 1 : 0)),
        open:
          end < count &&
          Math.floor((wanted[end] ?? 0) / group) === Math.floor((wanted[end - 1] ?? 0) / group),
        rows,
        targets,
      });
      from = end;
    }
    return parts;
  }

  #arena({ place }: LayerStore): ListArena {
    return memoryOf(this.#parts.arenas, place.arena);
  }
}
