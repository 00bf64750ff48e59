/**
 * Records which units of one layer's FFN lie in DRAM, and in which slots (the paper's section 3.3). Slots are
 * allocated once; a new unit is read directly into a slot, and no unit is ever moved or copied; evicting a
 * unit only deletes its entry. This is the book-keeping alone: it reads nothing, so that its properties can
 * be tested and policies compared without a model.
 */

import {
  allocateBook,
  type BookArrays,
  unitStoreBook,
  unitStoreScratch,
} from '../plan/store-book.ts';
import type { StorePolicy } from './store-policy.ts';

/** The slot of a unit that the store does not hold. */
export const noSlot = -1;

/** Where a wanted unit is: on flash alone, in its slot, or being read into its slot. */
export const unitState = { missing: 0, resident: 1, inFlight: 2 } as const;

/**
 * The result of looking up a step's list of units; the arrays are valid until the next step of any store that
 * shares its scratch.
 */
export interface Lookup {
  /** For each entry of the list its slot, or {@link noSlot} where none was free for it. */
  readonly slots: Int32Array;
  /** For each entry a {@link unitState}. */
  readonly states: Uint8Array;
  /** How many entries are resident, and how many in flight. */
  readonly resident: number;
  readonly inFlight: number;
}

/** Units that are to be read before it is known that they are wanted, and the slot of each. */
export interface SpeculativeSlots {
  readonly units: readonly number[];
  readonly slots: readonly number[];
}

type StoreScratch = BookArrays<typeof unitStoreScratch>;

/** Scratch for the steps of stores of up to `units` units. */
export function storeScratch(units: number): StoreScratch {
  return allocateBook(unitStoreScratch, { units, slots: 0 });
}

export class UnitStore {
  readonly units: number;
  readonly slots: number;
  readonly #policy: StorePolicy;
  readonly #book: BookArrays<typeof unitStoreBook>;
  readonly #scratch: StoreScratch;
  #free: number;
  #unwanted = 0;
  #inFlight = 0;
  #step = 0;
  /** Slots that are kept free between steps, for speculative reads; may be changed at any time. */
  reserve: number;

  /**
   * @param reserve slots, less than all, that are kept free for speculative reads
   * @param scratch for at least so many units; nothing in it outlives a step
   */
  constructor(
    units: number,
    slots: number,
    policy: StorePolicy,
    reserve = 0,
    scratch: StoreScratch = storeScratch(units),
  ) {
    this.#scratch = scratch;
    this.reserve = reserve;
    this.units = units;
    this.slots = slots;
    this.#policy = policy;
    this.#book = allocateBook(unitStoreBook, { units, slots });
    this.#book.unitIn.fill(-1);
    this.#book.slotOf.fill(noSlot);
    for (let i = 0; i < slots; i++) this.#book.free[i] = slots - 1 - i;
    this.#free = slots;
  }

  /** Slots in use (the paper's `num_used`). */
  get used(): number {
    return this.slots - this.#free - this.#unwanted;
  }

  /** Slots that units stay in from one step to the next. */
  get capacity(): number {
    return this.slots - this.reserve;
  }

  /** The slot of a unit, or {@link noSlot}. */
  slotOf(unit: number): number {
    return this.#book.slotOf[unit] ?? noSlot;
  }

  /** The unit in a slot, or -1. */
  unitIn(slot: number): number {
    return this.#book.unitIn[slot] ?? -1;
  }

  /** Assigns a free slot to a unit that is about to be loaded. */
  preload(unit: number): number {
    const slot = this.#takeFree();
    if (slot === undefined || this.slotOf(unit) !== noSlot) {
      throw new RangeError(`no slot for unit ${unit} before any step`);
    }
    this.#put(unit, slot);
    return slot;
  }

  /**
   * Evicts the units with the lowest values, but none that the last step wanted, until `n` slots are free.
   */
  makeRoom(n: number): void {
    const wanted = n - this.#free;
    if (wanted <= 0) return;
    const least = this.#leastValued(wanted);
    for (let i = 0; i < least.length; i++) this.forget(least[i] as number);
  }

  /**
   * Finds slots for units that the next step will probably want, as far as any are free; those with the
   * highest values come first. The caller reads the units into these slots, and calls {@link commit} when no
   * further read will arrive.
   */
  speculate(guess: Uint32Array): SpeculativeSlots {
    let missing = Array.from(guess).filter((unit) => this.slotOf(unit) === noSlot);
    if (missing.length > this.#free) {
      const { worth } = this.#scratch;
      for (const unit of missing) worth[unit] = this.#policy.value(unit);
      missing.sort((a, b) => (worth[b] as number) - (worth[a] as number) || a - b);
      missing = missing.slice(0, this.#free).sort((a, b) => a - b);
    }
    const { inFlight, isInFlight } = this.#book;
    const slots: number[] = [];
    for (const unit of missing) {
      const slot = this.#takeFree();
      if (slot === undefined) break;
      this.#put(unit, slot);
      isInFlight[unit] = 1;
      inFlight[this.#inFlight++] = unit;
      slots.push(slot);
    }
    return { units: missing, slots };
  }

  /** Call when speculative reads have arrived or were given up: frees the slots of unwanted units. */
  commit(): void {
    const { free } = this.#book;
    const from = this.slots - this.#unwanted;
    free.copyWithin(this.#free, from, this.slots);
    // The back part of the array was filled from the end.
    free.subarray(this.#free, this.#free + this.#unwanted).reverse();
    this.#free += this.#unwanted;
    this.#unwanted = 0;
  }

  /**
   * Begins a step that wants the first `count` of `wanted`, each unit once. Missing units get free slots, or
   * slots of units with lower values; the caller reads the units into these slots, or calls {@link forget} if
   * it cannot.
   */
  want(wanted: Uint32Array, count = wanted.length): Lookup {
    const { wantedAt, isInFlight } = this.#book;
    const { foundSlots: slots, foundStates: states } = this.#scratch;
    const policy = this.#policy;
    this.#step++;
    for (const unit of policy.step()) this.forget(unit);
    let resident = 0;
    let inFlight = 0;
    for (let i = 0; i < count; i++) {
      const unit = wanted[i] ?? 0;
      policy.use(unit);
      const slot = this.slotOf(unit);
      slots[i] = slot;
      if (slot === noSlot) {
        states[i] = unitState.missing;
        continue;
      }
      wantedAt[unit] = this.#step;
      if (isInFlight[unit] === 1) {
        states[i] = unitState.inFlight;
        inFlight++;
      } else {
        states[i] = unitState.resident;
        resident++;
      }
    }
    this.#dropUnwanted();
    const missing = count - resident - inFlight;
    if (missing > 0 || this.used > this.capacity) this.#admit(wanted, count, missing);
    return { slots, states, resident, inFlight };
  }

  /**
   * Keeps units that were read ahead and are wanted; slots of the others become free when their reads have
   * ended.
   */
  #dropUnwanted(): void {
    const { free, inFlight, isInFlight, slotOf, unitIn, wantedAt } = this.#book;
    for (let i = 0; i < this.#inFlight; i++) {
      const unit = inFlight[i] as number;
      isInFlight[unit] = 0;
      const slot = this.slotOf(unit);
      if (slot === noSlot || wantedAt[unit] === this.#step) continue;
      slotOf[unit] = noSlot;
      unitIn[slot] = -1;
      free[this.slots - ++this.#unwanted] = slot;
    }
    this.#inFlight = 0;
  }

  /** Removes a unit that was not read after all, or that is not worth keeping. */
  forget(unit: number): void {
    const slot = this.slotOf(unit);
    if (slot === noSlot) return;
    const { free, inFlight, isInFlight, slotOf, unitIn } = this.#book;
    slotOf[unit] = noSlot;
    unitIn[slot] = -1;
    free[this.#free++] = slot;
    if (isInFlight[unit] === 0) return;
    // A speculative read was given up before any step could want it.
    isInFlight[unit] = 0;
    inFlight[inFlight.indexOf(unit)] = inFlight[--this.#inFlight] as number;
  }

  #takeFree(): number | undefined {
    return this.#free === 0 ? undefined : this.#book.free[--this.#free];
  }

  #put(unit: number, slot: number): void {
    const { slotOf, unitIn, wantedAt } = this.#book;
    unitIn[slot] = unit;
    slotOf[unit] = slot;
    wantedAt[unit] = this.#step;
  }

  /** Finds slots for the `missing` entries that have none, and empties those beyond the capacity. */
  #admit(wanted: Uint32Array, count: number, missing: number): void {
    const { slotOf } = this.#book;
    const { foundSlots: slots, worth } = this.#scratch;
    const policy = this.#policy;
    const without = this.#scratch.missing.subarray(0, missing);
    let found = 0;
    for (let i = 0; i < count; i++) if (slots[i] === noSlot) without[found++] = i;
    let room = this.capacity - this.used;
    if (missing > room) {
      // Units with the highest values come first, so that they get slots.
      for (const i of without) worth[i] = policy.value(wanted[i] ?? 0);
      without.sort((a, b) => (worth[b] as number) - (worth[a] as number) || a - b);
    }
    const victims = missing > room ? this.#leastValued(missing - room) : [];
    let next = 0;
    // Units that were read ahead and stay have taken slots from others.
    for (; room < 0 && next < victims.length; room++) this.forget(victims[next++] ?? 0);
    for (const i of without) {
      const unit = wanted[i] ?? 0;
      let slot = room > 0 ? this.#takeFree() : undefined;
      if (slot !== undefined) room--;
      else {
        const gone = victims[next++];
        if (gone === undefined || policy.value(gone) >= policy.value(unit)) return;
        slot = this.slotOf(gone);
        slotOf[gone] = noSlot;
      }
      this.#put(unit, slot);
      slots[i] = slot;
    }
  }

  /**
   * Up to `n` units that have a slot and that this step does not want, the lowest values first. It scans all
   * units in order, not the slots: between two steps of a layer all other layers have passed through the
   * processor's caches, and each of 3,000 slots would cost two cache misses.
   */
  #leastValued(n: number): ArrayLike<number> {
    const { slotOf, wantedAt } = this.#book;
    const { candidates, worth } = this.#scratch;
    let found = 0;
    for (let unit = 0; unit < this.units; unit++) {
      if (slotOf[unit] === noSlot || wantedAt[unit] === this.#step) continue;
      worth[unit] = this.#policy.value(unit);
      candidates[found++] = unit;
    }
    const least = candidates.subarray(0, found);
    const order = (a: number, b: number) => (worth[a] as number) - (worth[b] as number) || a - b;
    if (n < found) partition(least, n, order);
    return least.subarray(0, Math.min(n, found)).sort(order);
  }
}

/** Reorders `items` so that the first `n` in sorted order come before all others (Hoare's quickselect). */
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
