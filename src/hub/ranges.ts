/** The bytes of a file that are present: ordered ranges, of which no two touch. */

import type { ByteRange } from './connection.ts';

export class Ranges {
  #ranges: ByteRange[] = [];

  /** Total bytes. */
  get bytes(): number {
    return this.#ranges.reduce((sum, { from, to }) => sum + to - from, 0);
  }

  /** The ranges, in order. */
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

  /** The missing parts of [from, to), in order. */
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
