/** Coordinates that are copies of others, and rows over them that compute the same as the small rows. */

import type { Random } from '../../src/engine/random.ts';
import { toF16 } from './halfs.ts';

/** Arrangements of a row. */
const patterns = 16;

/** Which small coordinate each large one is a copy of, and rows over such coordinates. */
export class Copies {
  /** (large) */
  readonly from: Uint32Array;
  /** (small) */
  readonly counts: Uint32Array;
  readonly #row: Uint16Array;
  readonly #table: Uint16Array;
  /** Per arrangement, for each large coordinate its place in a table of (weight, +e, -e). */
  readonly #maps: readonly Uint32Array[];

  constructor(from: Uint32Array, small: number, random: Random) {
    this.from = from;
    this.counts = new Uint32Array(small);
    const occurrences: number[][] = Array.from({ length: small }, () => []);
    from.forEach((coordinate, place) => {
      occurrences[coordinate]?.push(place);
      this.counts[coordinate] = (this.counts[coordinate] ?? 0) + 1;
    });
    if (this.counts.some((count) => count === 0 || count % 2 === 1)) {
      throw new Error('the widths must be even multiples of the small ones');
    }
    this.#row = new Uint16Array(from.length);
    this.#table = new Uint16Array(3 * small);
    this.#maps = Array.from({ length: patterns }, () => {
      const map = new Uint32Array(from.length);
      occurrences.forEach((places, coordinate) => {
        const order = shuffled(places, random);
        order.forEach((place, i) => {
          map[place] = coordinate + (i < 2 ? 0 : i % 2 === 0 ? small : 2 * small);
        });
      });
      return map;
    });
  }

  /** A row whose copies of each small coordinate have this total weight, with noise; valid until the next call. */
  row(weight: (coordinate: number) => number, noise: Uint16Array, pattern: number): Uint16Array {
    const small = this.counts.length;
    const table = this.#table;
    for (let i = 0; i < small; i++) {
      const e = noise[i] ?? 0;
      table[i] = toF16(weight(i) / 2);
      table[small + i] = e;
      table[2 * small + i] = e ^ 0x8000;
    }
    const map = this.#maps[pattern % patterns] ?? new Uint32Array();
    const row = this.#row;
    for (let i = 0; i < row.length; i++) row[i] = table[map[i] ?? 0] ?? 0;
    return row;
  }
}

/** The items in a random order. */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [order[i], order[j]] = [order[j] as T, order[i] as T];
  }
  return order;
}
