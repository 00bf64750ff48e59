/**
 * Decides which units a store keeps: each policy gives every unit a value, and the store keeps the units with
 * the highest values. A step is one forward pass: a token, or a chunk of a prompt.
 */

import { allocateBook, policyBook } from '../plan/store-book.ts';

export interface StorePolicy {
  /** Begins a step; returns units to evict in any case, even if no other unit needs room. */
  step(): Iterable<number>;
  /** The step wants this unit. */
  use(unit: number): void;
  /** The value of having the unit at the next step. */
  value(unit: number): number;
}

/** `auto`, or the number of steps of the paper's sliding window. */
export type PolicyName = 'auto' | number;

/**
 * The paper's sliding window (section 3.1): a unit that none of the last `k` steps wanted is evicted, even
 * when no other unit needs its room; when room is short, the unit wanted longest ago is evicted first.
 */
export class WindowPolicy implements StorePolicy {
  readonly #k: number;
  /** The paper's `last_k_active`: the units that each of the last steps wanted. */
  readonly #lastActive: number[][];
  /** (units): the step that used each last. */
  readonly #lastUsed: Float64Array;
  #now = 0;

  /** @param k steps; Infinity keeps the most recently used units, as long as there is room */
  constructor(units: number, k: number) {
    this.#k = k;
    // One list more than the window has steps: the oldest is searched for units to evict when it leaves.
    this.#lastActive = Number.isFinite(k) ? Array.from({ length: k + 1 }, () => []) : [];
    // Before any step, all units in the store have the same value.
    this.#lastUsed = new policyBook.values.type(units);
  }

  step(): number[] {
    this.#now++;
    const { length } = this.#lastActive;
    if (length === 0) return [];
    const unwanted = this.#lastActive[this.#now % length] ?? [];
    this.#lastActive[this.#now % length] = [];
    return unwanted.filter((unit) => this.#now - (this.#lastUsed[unit] ?? 0) > this.#k);
  }

  use(unit: number): void {
    this.#lastUsed[unit] = this.#now;
    const { length } = this.#lastActive;
    if (length > 0) this.#lastActive[this.#now % length]?.push(unit);
  }

  value(unit: number): number {
    return this.#lastUsed[unit] ?? 0;
  }
}

/** How a {@link FrequencyPolicy} forgets; found by scripts/policies.ts. */
export interface FrequencyOptions {
  /** Steps after which a use counts half. */
  readonly halfLife: number;
  /** Weight of the frequency in training, in uses spread over the past. */
  readonly prior: number;
}

export const defaultFrequency: FrequencyOptions = { halfLife: 16, prior: 0.3 };

/**
 * Frequency and age: the value of a unit is the sum of its uses, each of which counts less the longer ago it
 * was. Instead of ageing all values at every step, new uses get ever larger increments.
 */
export class FrequencyPolicy implements StorePolicy {
  readonly #values: Float64Array;
  readonly #growth: number;
  #increment = 1;
  /** Value of the prior, in units of the current increment. */
  readonly #prior: Float32Array;

  /** @param frequency (units) share of tokens that want the unit, as measured in training */
  constructor(frequency: Float32Array, { halfLife, prior }: FrequencyOptions = defaultFrequency) {
    this.#growth = 2 ** (1 / halfLife);
    // The sum of ageing uses at this frequency converges to frequency / (1 - ageing).
    const settled = 1 / (1 - 1 / this.#growth);
    const counts = { units: frequency.length, slots: 0 };
    ({ values: this.#values, prior: this.#prior } = allocateBook(policyBook, counts));
    this.#prior.set(frequency.map((share) => share * settled * prior));
  }

  step(): number[] {
    this.#increment *= this.#growth;
    if (this.#increment > 1e100) {
      for (let i = 0; i < this.#values.length; i++) {
        this.#values[i] = (this.#values[i] ?? 0) / this.#increment;
      }
      this.#increment = 1;
    }
    return [];
  }

  use(unit: number): void {
    this.#values[unit] = (this.#values[unit] ?? 0) + this.#increment;
  }

  value(unit: number): number {
    return (this.#values[unit] ?? 0) / this.#increment + (this.#prior[unit] ?? 0);
  }
}

/** The policy of that name for one layer. */
export function createPolicy(name: PolicyName, frequency: Float32Array): StorePolicy {
  return name === 'auto'
    ? new FrequencyPolicy(frequency)
    : new WindowPolicy(frequency.length, name);
}
