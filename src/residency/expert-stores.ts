/**
 * The experts of all layers: which of them lie in DRAM, and the reads of the others. A step is one pass
 * through a layer. The step gets wanted experts in DRAM at once; the others arrive one after the other, each
 * with its own request, so that one is computed while the next ones are still being read.
 */

import { InterruptedError } from '../errors.ts';
import type { FfnUnits } from '../flash/ffn-units.ts';
import type { IoStats } from '../flash/io-stats.ts';
import type { StoredTensor } from '../flash/manifest.ts';
import type { ModelFiles } from '../flash/model-files.ts';
import type { RequestOptions } from '../flash/scheduler.ts';
import { forEachParallel } from '../parallel.ts';
import { type ExpertPlan, type ExpertStaging, expertUnits } from '../plan/expert-slots.ts';
import type { StorePlace } from '../plan/places.ts';
import { EarlyExperts, type EarlyRead, type PresentExpert } from './early-experts.ts';
import { memoryOf, packInPlace, type WeightMemory } from './packing.ts';
import { createPolicy, type PolicyName } from './store-policy.ts';
import { noSlot, storeScratch, UnitStore, unitState } from './unit-store.ts';

/** Bytes of experts requested at once: more than any device needs to be kept busy. */
const mostReading = 64 * 2 ** 20;
const loadsInFlight = 16;

/** The store of a layer's experts. */
export interface ExpertLayer {
  readonly store: UnitStore;
  readonly place: StorePlace;
  readonly units: FfnUnits;
  readonly tensor: StoredTensor;
  /** Whether they are packed as far as their format allows: where all of them are resident. */
  readonly packed: boolean;
  readonly early: EarlyExperts;
}

/** Counts of all steps so far; bytes are those of whole experts. */
export interface ExpertCounters {
  /** Experts that steps wanted, each once per step, and those of them that were in DRAM. */
  readonly wanted: number;
  readonly present: number;
  readonly residentBytes: number;
  readonly streamedBytes: number;
  /** Time spent on book-keeping, in milliseconds. */
  readonly storeMs: number;
}

/** An expert that is being read. */
interface ReadingExpert extends EarlyRead {
  /** Its staging slot, if it is not worth a slot of the store. */
  readonly staged: number | null;
}

/** Experts still to be read, each with its slot or {@link noSlot}. */
interface MissingExpert {
  readonly expert: number;
  readonly slot: number;
}

export class ExpertStores {
  readonly #files: ModelFiles;
  readonly #memories: readonly WeightMemory[];
  readonly #layers: readonly (ExpertLayer | null)[];
  readonly #staging: ExpertStaging | null;
  /** Staging slots that are free. */
  readonly #freeStaging: number[];
  readonly #counts = { wanted: 0, present: 0, residentBytes: 0, streamedBytes: 0 };
  #storeMs = 0;

  private constructor(
    files: ModelFiles,
    memories: readonly WeightMemory[],
    layers: readonly (ExpertLayer | null)[],
    staging: ExpertStaging | null,
  ) {
    this.#files = files;
    this.#memories = memories;
    this.#layers = layers;
    this.#staging = staging;
    this.#freeStaging = Array.from({ length: staging?.slots ?? 0 }, (_, slot) => slot);
  }

  /**
   * Creates the stores. Where all experts of a layer fit, they are read at once; other stores begin empty, as
   * it is unknown which experts will be wanted.
   */
  static async load(
    files: ModelFiles,
    plan: ExpertPlan,
    memories: readonly WeightMemory[],
    policy: PolicyName,
    onProgress?: (doneBytes: number, totalBytes: number) => void,
    signal?: AbortSignal,
  ): Promise<ExpertStores> {
    const { manifest } = files;
    const units = expertUnits(manifest);
    const scratch = storeScratch(Math.max(0, ...units.map((each) => each?.count ?? 0)));
    const stores = plan.stores.map((place, layer): ExpertLayer | null => {
      const own = units[layer] ?? null;
      if (place === null || own === null) return null;
      const all = place.slots === own.count;
      // No frequencies are known before the first token.
      const frequency = new Float32Array(own.count);
      // Where all experts are resident, none is ever evicted, so that they may be packed.
      const kept = createPolicy(all ? 'auto' : policy, frequency);
      const store = new UnitStore(own.count, place.slots, kept, 0, scratch);
      const tensor = files.tensor(own.tensor);
      const layout = { place, units: own, tensor };
      const early = new EarlyExperts(store, all ? 0 : place.slots, (expert, slot) =>
        startRead(files, memories, layout, { expert, slot }, { priority: 'prefetch' }),
      );
      return { ...layout, store, early, packed: false };
    });
    const whole = stores.filter(
      (layer): layer is ExpertLayer => layer !== null && layer.place.slots === layer.units.count,
    );
    const pieces = whole.flatMap((layer) =>
      Array.from({ length: layer.units.count }, (_, expert) => ({ layer, expert })),
    );
    const total = pieces.reduce((sum, { layer }) => sum + layer.units.unitBytes, 0);
    let done = 0;
    await forEachParallel(pieces, loadsInFlight, async ({ layer, expert }) => {
      if (signal?.aborted) throw new InterruptedError();
      const into = { expert, slot: layer.store.preload(expert) };
      const read = startRead(files, memories, layer, into, { priority: 'prefetch' });
      await read.request.done;
      done += layer.units.unitBytes;
      onProgress?.(done, total);
    });
    const layers = stores.map((layer): ExpertLayer | null => {
      if (layer === null || !whole.includes(layer)) return layer;
      const memory = memoryOf(memories, layer.place.arena);
      const { address, slots } = layer.place;
      const { packed } = packInPlace(memory, manifest, layer.tensor, address, slots);
      return { ...layer, packed };
    });
    return new ExpertStores(files, memories, layers, plan.staging);
  }

  get counters(): ExpertCounters {
    return { ...this.#counts, storeMs: this.#storeMs };
  }

  layer(index: number): ExpertLayer {
    const found = this.#layers[index] ?? null;
    if (found === null) throw new Error(`layer ${index} has no experts`);
    return found;
  }

  /** Whether it pays to guess a layer's experts. */
  guesses(index: number): boolean {
    const { early } = this.layer(index);
    if (early.open) return true;
    early.skip();
    return false;
  }

  /**
   * Begins to read the experts that a layer will probably want, with lower priority than wanted experts. Only
   * the time depends on it. The layer's next step takes the right guesses.
   * @param guess the likeliest first
   */
  guess(index: number, guess: readonly number[]): void {
    const started = performance.now();
    this.layer(index).early.begin(guess);
    this.#storeMs += performance.now() - started;
  }

  /**
   * Gives up guesses for steps that did not come: before another pass, or before memory and files are
   * released.
   */
  async abandonGuesses(): Promise<void> {
    await Promise.all(this.#layers.map((layer) => layer?.early.abandon()));
  }

  /**
   * Begins a step that wants these experts, each once: finds places for those that are missing, and begins to
   * read them. Only one step may be open at a time; {@link ExpertStep.eachMissing} ends it.
   * @param wanted experts, those to be read first at the beginning
   */
  begin(index: number, wanted: Uint32Array): ExpertStep {
    const started = performance.now();
    const layer = this.layer(index);
    const { store, place, units } = layer;
    const { slots, states, resident } = store.want(wanted);
    const present: PresentExpert[] = [];
    const missing: MissingExpert[] = [];
    const coming = new Set<number>();
    for (const [i, expert] of wanted.entries()) {
      const slot = slots[i] ?? noSlot;
      if (states[i] === unitState.missing) missing.push({ expert, slot });
      else if (states[i] === unitState.inFlight) coming.add(expert);
      else present.push({ expert, arena: place.arena, address: slotAddress(layer, slot) });
    }
    const early = layer.early.take((expert) => coming.has(expert), missing.length);
    this.#counts.wanted += wanted.length;
    this.#counts.present += resident;
    this.#counts.residentBytes += resident * units.unitBytes;
    this.#counts.streamedBytes += (missing.length + early.length) * units.unitBytes;
    this.#storeMs += performance.now() - started;
    const reading = early.map((read) => ({ ...read, staged: null }));
    return new ExpertStep(layer, present, missing, reading, {
      freeStaging: this.#freeStaging,
      read: (entry, staged) => this.#read(layer, entry, staged),
      stats: this.#files.scheduler.stats,
    });
  }

  #read(layer: ExpertLayer, missing: MissingExpert, staged: number | null): ReadingExpert {
    // Starts all reads at once: computing blocks the event loop, which could then not start further reads.
    const options = { eager: true };
    if (staged === null || this.#staging === null) {
      return { ...startRead(this.#files, this.#memories, layer, missing, options), staged };
    }
    const { address, slotBytes } = this.#staging;
    const place = { arena: 0, address: address + staged * slotBytes, slots: 1 };
    const into = { expert: missing.expert, slot: 0 };
    const passing = { ...layer, place };
    return { ...startRead(this.#files, this.#memories, passing, into, options), staged };
  }
}

/** Begins to read an expert into a slot. */
function startRead(
  files: ModelFiles,
  memories: readonly WeightMemory[],
  layer: Pick<ExpertLayer, 'place' | 'units' | 'tensor'>,
  { expert, slot }: MissingExpert,
  options: Omit<RequestOptions, 'offer'>,
): EarlyRead {
  const { arena } = layer.place;
  const address = slotAddress(layer, slot);
  const { memory } = memoryOf(memories, arena);
  const places = { rows: [expert], addresses: [address] };
  return {
    expert,
    arena,
    address,
    request: files.requestScattered(layer.tensor, places, memory, options),
  };
}

/** The parts of the stores that a step needs. */
interface StepParts {
  readonly freeStaging: number[];
  readonly read: (entry: MissingExpert, staged: number | null) => ReadingExpert;
  readonly stats: IoStats;
}

/** The experts of one pass through a layer. */
export class ExpertStep {
  /** Experts that are in DRAM already. */
  readonly present: readonly PresentExpert[];
  readonly #layer: ExpertLayer;
  readonly #parts: StepParts;
  readonly #missing: MissingExpert[];
  readonly #reading: ReadingExpert[] = [];

  constructor(
    layer: ExpertLayer,
    present: readonly PresentExpert[],
    missing: readonly MissingExpert[],
    reading: readonly ReadingExpert[],
    parts: StepParts,
  ) {
    this.present = present;
    this.#layer = layer;
    this.#parts = parts;
    this.#missing = [...missing];
    // Experts requested early arrive first.
    this.#reading.push(...reading);
    this.#readAhead();
  }

  /**
   * Passes on the missing experts in the order in which they arrive.
   * @param use computes with an expert, whose memory may be overwritten by a read afterwards
   */
  async eachMissing(use: (expert: PresentExpert) => void): Promise<void> {
    for (;;) {
      const next = this.#reading[0];
      if (next === undefined) break;
      await this.#parts.stats.awaited(next.request.done);
      use(next);
      this.#reading.shift();
      if (next.staged !== null) this.#parts.freeStaging.push(next.staged);
      this.#readAhead();
    }
    if (this.#missing.length > 0) throw new Error('neither a slot nor staging for an expert');
    await this.#layer.early.settle();
  }

  /**
   * Gives up experts that have not arrived, after a pass that was broken off: the store does not hold them.
   */
  async abandon(): Promise<void> {
    const reading = this.#reading.splice(0);
    await Promise.all(reading.map(({ request }) => request.cancel()));
    for (const { expert, staged } of reading) {
      if (staged !== null) this.#parts.freeStaging.push(staged);
      else this.#layer.store.forget(expert);
    }
    for (const { expert } of this.#missing.splice(0)) this.#layer.store.forget(expert);
    await this.#layer.early.settle();
  }

  /** Requests as many experts as keep the device busy and fit into staging. */
  #readAhead(): void {
    const { unitBytes } = this.#layer.units;
    // One is always being read while another is computed, however large they are.
    const most = Math.max(2, Math.floor(mostReading / unitBytes));
    while (this.#reading.length < most) {
      const [next] = this.#missing;
      if (next === undefined) return;
      const staged = next.slot === noSlot ? (this.#parts.freeStaging.pop() ?? null) : null;
      if (next.slot === noSlot && staged === null) return;
      this.#missing.shift();
      this.#reading.push(this.#parts.read(next, staged));
    }
  }
}

/** Where a slot's expert lies in its memory. */
function slotAddress({ place, units }: Pick<ExpertLayer, 'place' | 'units'>, slot: number): number {
  return place.address + slot * units.unitBytes;
}
