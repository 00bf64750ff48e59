/**
 * Which units of a layer's FFN each row of a batch computes. A selection is a value: it lies in the caller's
 * buffers, and stays unchanged until the caller requests another one in the same buffers. The paper's
 * predictors, all units, and the router of a mixture of experts are selectors alike; a guess for reading
 * ahead is a selector that is called early.
 */

import { bitWords, selectionLengths } from '../plan/list-layout.ts';

/** The input of an FFN; addresses are in the first memory. */
export interface FfnInput {
  readonly layer: number;
  /** (positions, hidden) */
  readonly x: number;
  /** The same before the norm. */
  readonly residual: number;
  readonly positions: number;
}

/** Chooses units. */
export interface Selector<S extends Selection> {
  /**
   * Chooses for each row of `input`.
   * @param into room for the layer's units and the input's positions, owned by the caller
   * @returns `into`
   */
  select(input: FfnInput, into: S): S;
}

/** A row takes a unit or it does not. */
export class BitSelection {
  readonly kind = 'bits';
  readonly #ids: Uint32Array;
  readonly #bits: Uint32Array;
  /** Units of the layer. */
  count = 0;
  rows = 0;
  #chosen = 0;

  /** @param most units of the largest layer, and rows, to allocate room for */
  constructor(most: { readonly units: number; readonly rows: number }) {
    const { ids, bits } = selectionLengths(most);
    this.#ids = new Uint32Array(ids);
    this.#bits = new Uint32Array(bits);
  }

  /** Units that any row takes, ascending. */
  get units(): Uint32Array {
    return this.#ids.subarray(0, this.#chosen);
  }

  /** u32 (rows, words): unit i of a row is bit i % 32 of word i / 32. */
  get bits(): Uint32Array {
    return this.#bits.subarray(0, this.rows * this.words);
  }

  /** Words of a row's bits. */
  get words(): number {
    return bitWords(this.count);
  }

  /** Copies a choice among `count` units: its bits, (rows, words), and the units that any row takes. */
  set(bits: Uint32Array, units: Uint32Array, count: number, rows: number): this {
    this.#resize(count, rows);
    this.bits.set(bits);
    this.#ids.set(units);
    this.#chosen = units.length;
    return this;
  }

  /** Every row takes all of `count` units. */
  setAll(count: number, rows: number): this {
    this.#resize(count, rows);
    const { bits, words } = this;
    bits.fill(0xffffffff);
    const rest = count % 32;
    if (rest !== 0) for (let row = 1; row <= rows; row++) bits[row * words - 1] = 2 ** rest - 1;
    for (let unit = 0; unit < count; unit++) this.#ids[unit] = unit;
    this.#chosen = count;
    return this;
  }

  /** Whether a row takes a unit. */
  has(row: number, unit: number): boolean {
    const word = this.#bits[row * this.words + (unit >> 5)] ?? 0;
    return ((word >>> (unit & 31)) & 1) === 1;
  }

  /** The units that one row takes, ascending. */
  unitsOf(row: number): Uint32Array {
    const found: number[] = [];
    const { words } = this;
    this.#bits.subarray(row * words, (row + 1) * words).forEach((value, index) => {
      for (let word = value; word !== 0; word &= word - 1) {
        found.push(index * 32 + 31 - Math.clz32(word & -word));
      }
    });
    return Uint32Array.from(found);
  }

  #resize(count: number, rows: number): void {
    if (count > this.#ids.length || rows * bitWords(count) > this.#bits.length) {
      throw new RangeError(`a selection of ${rows} rows among ${count} units has no room here`);
    }
    this.count = count;
    this.rows = rows;
  }
}

/** A row takes units with weights; 0 where it does not take one. */
export class WeightSelection {
  readonly kind = 'weights';
  readonly #ids: Uint32Array;
  readonly #weights: Float32Array;
  /** Units of the layer. */
  count = 0;
  rows = 0;
  #chosen = 0;

  /** @param most units of the largest layer, and rows, to allocate room for */
  constructor({ units, rows }: { readonly units: number; readonly rows: number }) {
    this.#ids = new Uint32Array(units);
    this.#weights = new Float32Array(rows * units);
  }

  /** Units that any row takes, ascending. */
  get units(): Uint32Array {
    return this.#ids.subarray(0, this.#chosen);
  }

  /** (rows, count) */
  get weights(): Float32Array {
    return this.#weights.subarray(0, this.rows * this.count);
  }

  /** Empties it for `rows` rows among `count` units; {@link take} then adds to it. */
  clear(count: number, rows: number): this {
    if (count > this.#ids.length || rows * count > this.#weights.length) {
      throw new RangeError(`a selection of ${rows} rows among ${count} units has no room here`);
    }
    this.count = count;
    this.rows = rows;
    this.#chosen = 0;
    this.weights.fill(0);
    return this;
  }

  /** A row takes a unit. */
  take(row: number, unit: number, weight: number): void {
    this.#weights[row * this.count + unit] = weight;
  }

  /** Call after all rows have taken their units: lists the units that any row takes. */
  seal(): this {
    const { weights, count, rows } = this;
    this.#chosen = 0;
    for (let unit = 0; unit < count; unit++) {
      for (let row = 0; row < rows; row++) {
        if (weights[row * count + unit] === 0) continue;
        this.#ids[this.#chosen++] = unit;
        break;
      }
    }
    return this;
  }
}

export type Selection = BitSelection | WeightSelection;
