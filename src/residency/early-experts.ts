/**
 * Experts that are read before their layer's router has spoken, as the state of the layer before suggests.
 * They take the slots that misses would take: of those worth least. What was guessed right is waited for
 * when it is wanted; of the rest the reads are given up, and their slots are free when these have ended.
 */

import { SpeculationThrottle } from './speculation-throttle.ts';
import type { UnitStore } from './unit-store.ts';

/** An expert in memory. */
export interface PresentExpert {
  readonly expert: number;
  /** The memory it lies in: 0, or one of the plan's arenas, counted from 1. */
  readonly arena: number;
  /** Of its first byte. */
  readonly address: number;
}

/** A read on its way. */
export interface EarlyRead extends PresentExpert {
  readonly request: {
    readonly done: Promise<unknown>;
    promote(): void;
    cancel(): Promise<void>;
  };
}

/** Of one layer. */
export class EarlyExperts {
  readonly #store: UnitStore;
  readonly #throttle: SpeculationThrottle;
  readonly #read: (expert: number, slot: number) => EarlyRead;
  #reads = new Map<number, EarlyRead>();
  /** Of what was given up: resolve when no read is in flight. */
  #ending: Promise<void>[] = [];

  /**
   * @param slots of the layer; 0 where nothing shall be guessed
   * @param read begins to read an expert into a slot, behind all that is wanted for certain
   */
  constructor(store: UnitStore, slots: number, read: (expert: number, slot: number) => EarlyRead) {
    this.#store = store;
    this.#throttle = new SpeculationThrottle(slots);
    this.#read = read;
  }

  /** Whether a guess is worth while now; a token without one brings the next trial nearer. */
  get open(): boolean {
    return this.#throttle.open;
  }

  /** A token passes without a guess. */
  skip(): void {
    this.#throttle.skip();
  }

  /** Begins to read those of `guess` that are not there, the likeliest first. */
  begin(guess: readonly number[]): void {
    const missing = guess.filter((expert) => this.#store.slotOf(expert) < 0);
    this.#store.makeRoom(missing.length);
    const { units, slots } = this.#store.speculate(Uint32Array.from(missing));
    for (const [i, expert] of units.entries()) {
      this.#reads.set(expert, this.#read(expert, slots[i] ?? 0));
    }
  }

  /**
   * The layer's step has told what it wants: gives the reads of it, and gives up the others.
   * @param wanted whether an expert is wanted
   * @param missed how many are wanted that were neither there nor guessed
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

  /** Waits until no read of what was given up is in flight: its slots are free. */
  async settle(): Promise<void> {
    const ending = this.#ending.splice(0);
    if (ending.length === 0) return;
    await Promise.all(ending);
    this.#store.commit();
  }

  /** Gives up what a step that will not come would have taken. */
  async abandon(): Promise<void> {
    const reads = [...this.#reads.values()];
    this.#reads.clear();
    await Promise.all(reads.map(({ request }) => request.cancel()));
    for (const { expert } of reads) this.#store.forget(expert);
    await this.settle();
  }
}
