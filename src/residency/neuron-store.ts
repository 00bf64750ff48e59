/**
 * Which neurons of one layer lie in DRAM, and in which slot (the paper's section 3.3). Slots are
 * allocated once; a neuron that comes is read straight into a slot, nothing is moved or copied; one
 * that goes is merely forgotten. This is the book-keeping alone: it reads nothing, so that its
 * properties can be tested and policies compared without a model.
 */

import type { StorePolicy } from './store-policy.ts';

/** The slot of a neuron that the store does not hold. */
export const noSlot = -1;

/** What a step's list of neurons met; the arrays are valid until the next step. */
export interface Selection {
  /** For each entry of the list its slot, or {@link noSlot} where it found none. */
  readonly slots: Int32Array;
  /** For each entry 1 when the neuron was there already, 2 when it is on its way: {@link NeuronStore.foresee}. */
  readonly hit: Uint8Array;
  /** How many entries were there already, and how many are on their way. */
  readonly hits: number;
  readonly arriving: number;
}

/** Neurons that are read before it is known that they are wanted, and their slots. */
export interface Foreseen {
  readonly neurons: readonly number[];
  readonly slots: readonly number[];
}

export class NeuronStore {
  readonly neurons: number;
  readonly slots: number;
  readonly #policy: StorePolicy;
  /** The paper's `pointer`: the neuron in each slot, or -1. */
  readonly #pointer: Int32Array;
  /** The slot of each neuron, or -1. */
  readonly #slotOf: Int32Array;
  readonly #free: number[];
  /** The step that wanted each neuron in a slot last: of this step nothing may go. */
  readonly #wantedAt: Float64Array;
  #step = 0;
  readonly #selection: { slots: Int32Array; hit: Uint8Array; hits: number; arriving: number };
  /** Slots that are kept free between steps, for what is foreseen; may be changed at any time. */
  reserve: number;
  /** Neurons that were foreseen for the next step, and for each neuron whether it was. */
  readonly #landing: number[] = [];
  readonly #isLanding: Uint8Array;
  /** Slots of those that were not wanted after all: still being read into. */
  readonly #leaving: number[] = [];
  readonly #candidates: Int32Array;
  readonly #values: Float64Array;
  /** Entries of the list that are missing, and what each of its entries is worth. */
  readonly #missing: Int32Array;
  readonly #worth: Float64Array;

  /** @param reserve slots, less than all, that are kept free for what is foreseen */
  constructor(neurons: number, slots: number, policy: StorePolicy, reserve = 0) {
    this.reserve = reserve;
    this.#isLanding = new Uint8Array(neurons);
    this.neurons = neurons;
    this.slots = slots;
    this.#policy = policy;
    this.#pointer = new Int32Array(slots).fill(-1);
    this.#slotOf = new Int32Array(neurons).fill(noSlot);
    this.#free = Array.from({ length: slots }, (_, i) => slots - 1 - i);
    this.#wantedAt = new Float64Array(neurons);
    this.#selection = {
      slots: new Int32Array(neurons),
      hit: new Uint8Array(neurons),
      hits: 0,
      arriving: 0,
    };
    this.#candidates = new Int32Array(slots);
    this.#values = new Float64Array(neurons);
    this.#missing = new Int32Array(neurons);
    this.#worth = new Float64Array(neurons);
  }

  /** Slots in use (the paper's `num_used`). */
  get used(): number {
    return this.slots - this.#free.length - this.#leaving.length;
  }

  /** Slots that neurons stay in from one step to the next. */
  get capacity(): number {
    return this.slots - this.reserve;
  }

  /** The slot of a neuron, or {@link noSlot}. */
  slotOf(neuron: number): number {
    return this.#slotOf[neuron] ?? noSlot;
  }

  /** The neuron in a slot, or -1. */
  neuronIn(slot: number): number {
    return this.#pointer[slot] ?? -1;
  }

  /** Gives a neuron that is to be loaded a free slot. */
  preload(neuron: number): number {
    const slot = this.#free.pop();
    if (slot === undefined || this.slotOf(neuron) !== noSlot) {
      throw new RangeError(`no slot for neuron ${neuron} before any step`);
    }
    this.#put(neuron, slot);
    return slot;
  }

  /**
   * Finds slots for neurons that the next step will probably want, as far as any are free; those worth
   * most come first. The caller reads them there, and says when nothing more arrives: {@link settle}.
   */
  foresee(guess: Uint32Array): Foreseen {
    let missing = Array.from(guess).filter((neuron) => this.slotOf(neuron) === noSlot);
    if (missing.length > this.#free.length) {
      const worth = this.#worth;
      for (const neuron of missing) worth[neuron] = this.#policy.value(neuron);
      missing.sort((a, b) => (worth[b] as number) - (worth[a] as number) || a - b);
      missing = missing.slice(0, this.#free.length).sort((a, b) => a - b);
    }
    const slots: number[] = [];
    for (const neuron of missing) {
      const slot = this.#free.pop();
      if (slot === undefined) break;
      this.#put(neuron, slot);
      this.#isLanding[neuron] = 1;
      this.#landing.push(neuron);
      slots.push(slot);
    }
    return { neurons: missing, slots };
  }

  /** All that was foreseen has arrived, or will not: slots of what nobody wanted are free again. */
  settle(): void {
    this.#free.push(...this.#leaving.splice(0));
  }

  /**
   * Begins a step that wants the first `count` of `wanted`, each neuron once. Those that are missing
   * get slots as far as there are free ones, or others worth less than they are; the caller reads
   * them there, or says that it could not: {@link forget}.
   */
  want(wanted: Uint32Array, count = wanted.length): Selection {
    const { slots, hit } = this.#selection;
    const policy = this.#policy;
    this.#step++;
    for (const neuron of policy.step()) this.forget(neuron);
    let hits = 0;
    let arriving = 0;
    for (let i = 0; i < count; i++) {
      const neuron = wanted[i] ?? 0;
      policy.use(neuron);
      const slot = this.slotOf(neuron);
      slots[i] = slot;
      hit[i] = slot === noSlot ? 0 : 1;
      if (slot === noSlot) continue;
      this.#wantedAt[neuron] = this.#step;
      if (this.#isLanding[neuron] === 1) {
        hit[i] = 2;
        arriving++;
      } else hits++;
    }
    this.#land();
    this.#selection.hits = hits;
    this.#selection.arriving = arriving;
    const missing = count - hits - arriving;
    if (missing > 0 || this.used > this.capacity) this.#admit(wanted, count, missing);
    return this.#selection;
  }

  /** What was foreseen and is wanted stays; slots of the rest are free when their reads have ended. */
  #land(): void {
    for (const neuron of this.#landing.splice(0)) {
      this.#isLanding[neuron] = 0;
      const slot = this.slotOf(neuron);
      if (slot === noSlot || this.#wantedAt[neuron] === this.#step) continue;
      this.#slotOf[neuron] = noSlot;
      this.#pointer[slot] = -1;
      this.#leaving.push(slot);
    }
  }

  /** Lets go of a neuron: it was not read after all, or is not worth keeping. */
  forget(neuron: number): void {
    const slot = this.slotOf(neuron);
    if (slot === noSlot) return;
    this.#slotOf[neuron] = noSlot;
    this.#pointer[slot] = -1;
    this.#free.push(slot);
  }

  #put(neuron: number, slot: number): void {
    this.#pointer[slot] = neuron;
    this.#slotOf[neuron] = slot;
    this.#wantedAt[neuron] = this.#step;
  }

  /** Finds slots for the `missing` entries that have none, and empties those beyond the capacity. */
  #admit(wanted: Uint32Array, count: number, missing: number): void {
    const { slots } = this.#selection;
    const policy = this.#policy;
    const without = this.#missing.subarray(0, missing);
    let found = 0;
    for (let i = 0; i < count; i++) if (slots[i] === noSlot) without[found++] = i;
    let room = this.capacity - this.used;
    if (missing > room) {
      // Those worth most come first, so that they find room.
      const worth = this.#worth;
      for (const i of without) worth[i] = policy.value(wanted[i] ?? 0);
      without.sort((a, b) => (worth[b] as number) - (worth[a] as number) || a - b);
    }
    const victims = missing > room ? this.#leastValued(missing - room) : [];
    let next = 0;
    // What was foreseen and stays has taken room from others.
    for (; room < 0 && next < victims.length; room++) this.forget(victims[next++] ?? 0);
    for (const i of without) {
      const neuron = wanted[i] ?? 0;
      let slot = room > 0 ? this.#free.pop() : undefined;
      if (slot !== undefined) room--;
      else {
        const gone = victims[next++];
        if (gone === undefined || policy.value(gone) >= policy.value(neuron)) return;
        slot = this.slotOf(gone);
        this.#slotOf[gone] = noSlot;
      }
      this.#put(neuron, slot);
      slots[i] = slot;
    }
  }

  /**
   * Up to `n` neurons with a slot that this step does not want, those worth least first. It goes
   * through all neurons in order, not through the slots: between two steps of a layer everything else
   * has passed through the caches, and of 3,000 slots each would cost two misses.
   */
  #leastValued(n: number): ArrayLike<number> {
    const candidates = this.#candidates;
    const values = this.#values;
    const slotOf = this.#slotOf;
    const wantedAt = this.#wantedAt;
    let found = 0;
    for (let neuron = 0; neuron < this.neurons; neuron++) {
      if (slotOf[neuron] === noSlot || wantedAt[neuron] === this.#step) continue;
      values[neuron] = this.#policy.value(neuron);
      candidates[found++] = neuron;
    }
    const least = candidates.subarray(0, found);
    const order = (a: number, b: number) => (values[a] as number) - (values[b] as number) || a - b;
    if (n < found) partition(least, n, order);
    return least.subarray(0, Math.min(n, found)).sort(order);
  }
}

/** Reorders `items` so that the `n` first in order stand before all others (Hoare's quickselect). */
function partition(items: Int32Array, n: number, order: (a: number, b: number) => number): void {
  let low = 0;
  let high = items.length - 1;
  while (low < high) {
    const pivot = items[(low + high) >> 1] ?? 0;
    let i = low;
    let j = high;
    while (i <= j) {
      while (order(items[i] ?? 0, pivot) < 0) i++;
      while (order(items[j] ?? 0, pivot) > 0) j--;
      if (i > j) break;
      const swapped = items[i] ?? 0;
      items[i++] = items[j] ?? 0;
      items[j--] = swapped;
    }
    if (n <= j) high = j;
    else if (n > i) low = i;
    else return;
  }
}
