/** Which bytes of a file are there: ranges in order, no two of which touch. */

import type { ByteRange } from './connection.ts';

export class Ranges {
  #ranges: ByteRange[] = [];

  /** Bytes in all. */
  get bytes(): number {
    return this.#ranges.reduce((sum, { from, to }) => sum + to - from, 0);
  }

  /** In order. */
  get all(): readonly ByteRange[] {
    return this.#ranges;
  }

  /** Adds bytes [from, to). */
  add(from: number, to: number): void {
    if (from >= to) return;
    const apart = (range: ByteRange) => range.to < from || range.from > to;
    const joined = this.#ranges.filter((range) => !apart(range));
    const merged = {
      from: Math.min(from, ...joined.map((range) => range.from)),
      to: Math.max(to, ...joined.map((range) => range.to)),
    };
    this.#ranges = [...this.#ranges.filter(apart), merged].sort((a, b) => a.from - b.from);
  }

  /** The bytes of [from, to) that are not there, in order. */
  missing(from: number, to: number): ByteRange[] {
    const holes: ByteRange[] = [];
    let at = from;
    for (const range of this.#ranges) {
      if (range.to <= at) continue;
      if (range.from >= to) break;
      if (range.from > at) holes.push({ from: at, to: range.from });
      at = range.to;
    }
    if (at < to) holes.push({ from: at, to });
    return holes;
  }

  clear(): void {
    this.#ranges = [];
  }
}
