/**
 * Reads experts before their layer's router has run, by a guess from the state of the layer before. They take
 * the slots that misses would take: those of the experts worth least. A step waits for the reads of right
 * guesses; it gives up the reads of wrong ones, and their slots become free when these reads have ended.
 */

import { SpeculationThrottle } from './speculation-throttle.ts';
import type { UnitStore } from './unit-store.ts';

/** An expert in memory. */
export interface PresentExpert {
  readonly expert: number;
  /** The memory it lies in: 0, or one of the plan's arenas, counted from 1. */
  readonly arena: number;
  /** Address of its first byte. */
  readonly address: number;
}

/** A read in flight. */
export interface EarlyRead extends PresentExpert {
  readonly request: {
    readonly done: Promise<unknown>;
    promote(): void;
    cancel(): Promise<void>;
  };
}

/** The guesses for one layer. */
export class EarlyExperts {
  readonly #store: UnitStore;
  readonly #throttle: SpeculationThrottle;
  readonly #read: (expert: number, slot: number) => EarlyRead;
  #reads = new Map<number, EarlyRead>();
  /** Reads that were given up: each resolves when it is no longer in flight. */
  #ending: Promise<void>[] = [];

  /**
   * @param slots of the layer; 0 where no expert is to be guessed
   * @param read begins to read an expert into a slot, with lower priority than wanted experts
   */
  constructor(store: UnitStore, slots: number, read: (expert: number, slot: number) => EarlyRead) {
    this.#store = store;
    this.#throttle = new SpeculationThrottle(slots);
    this.#read = read;
  }

  /** Whether a guess pays now; each token without one brings the next trial nearer. */
  get open(): boolean {
    return this.#throttle.open;
  }

  /** Notes a token without a guess. */
  skip(): void {
    this.#throttle.skip();
  }

  /** Begins to read those of `guess` that are not in DRAM, the likeliest first. */
  begin(guess: readonly number[]): void {
    const missing = guess.filter((expert) => this.#store.slotOf(expert) < 0);
    this.#store.makeRoom(missing.length);
    const { units, slots } = this.#store.speculate(Uint32Array.from(missing));
    for (const [i, expert] of units.entries()) {
      this.#reads.set(expert, this.#read(expert, slots[i] ?? 0));
    }
  }

  /**
   * Called when the layer's step knows the wanted experts: returns their reads, and gives up the others.
   * @param wanted whether an expert is wanted
   * @param missed how many wanted experts were neither in DRAM nor guessed
   */
  take(wanted: (expert: number) => boolean, missed: number): readonly EarlyRead[] {
    if (this.#reads.size === 0) return [];
    const taken: EarlyRead[] = [];
    for (const read of this.#reads.values()) {
      if (wanted(read.expert)) taken.push(read);
      else this.#ending.push(read.request.cancel());
    }
    for (const { request } of taken) request.promote();
    this.#throttle.learn(taken.length, this.#reads.size - taken.length, missed);
    this.#reads.clear();
    return taken;
  }

  /** Waits until no read that was given up is in flight; the slots are then free. */
  async settle(): Promise<void> {
    const ending = this.#ending.splice(0);
    if (ending.length === 0) return;
    await Promise.all(ending);
    this.#store.commit();
  }

  /** Gives up the guesses for a step that will not come. */
  async abandon(): Promise<void> {
    const reads = [...this.#reads.values()];
    this.#reads.clear();
    await Promise.all(reads.map(({ request }) => request.cancel()));
    for (const { expert } of reads) this.#store.forget(expert);
    await this.settle();
  }
}
