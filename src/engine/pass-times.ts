/**
 * What a pass takes by the number of its rows, as measured: where weights are streamed, more rows cost
 * next to nothing; where all is in memory, each may cost as much as the first.
 */

/** A new figure counts so much in a mean, once there are some; older ones fade. */
const weight = 0.2;
/** Until a second number of rows was tried, a row is taken to cost this share of a pass. */
const hopedPerRow = 0.05;
/** Passes after which a figure that was not renewed is forgotten. */
const lifetime = 200;

interface Mean {
  ms: number;
  passes: number;
  /** When it was renewed, in passes. */
  renewed: number;
}

export class PassTimes {
  /** By rows. */
  readonly #means = new Map<number, Mean>();
  #passes = 0;
  #sequences = 1;

  /** A pass over so many rows of so many sequences, each of which got a token or more. */
  add(rows: number, sequences: number, ms: number): void {
    this.#passes++;
    this.#sequences += weight * (sequences - this.#sequences);
    const mean = this.#means.get(rows) ?? { ms: 0, passes: 0, renewed: 0 };
    mean.passes++;
    mean.ms += Math.max(weight, 1 / mean.passes) * (ms - mean.ms);
    mean.renewed = this.#passes;
    this.#means.set(rows, mean);
    for (const [count, { renewed }] of this.#means) {
      if (renewed < this.#passes - lifetime) this.#means.delete(count);
    }
  }

  /** Sequences that lately went along in a pass, on average. */
  get sequences(): number {
    return this.#sequences;
  }

  /** The most rows that were measured; 0 before the first pass. */
  get mostRows(): number {
    return Math.max(0, ...this.#means.keys());
  }

  /** Milliseconds of a pass over so many rows: measured, or between or beyond what was. */
  expect(rows: number): number {
    const known = this.#means.get(rows);
    if (known !== undefined) return known.ms;
    const counts = [...this.#means.keys()].sort((a, b) => a - b);
    const above = counts.findIndex((count) => count > rows);
    // Beyond the ends, the nearest two tell.
    const at = above < 0 ? counts.length - 1 : Math.max(1, above);
    const [a, b] = [counts[at - 1], counts[at]];
    if (a === undefined || b === undefined) {
      const [first = 1] = counts;
      return (this.#means.get(first)?.ms ?? 1) * (1 + hopedPerRow * (rows - first));
    }
    const [from, to] = [this.#means.get(a)?.ms ?? 0, this.#means.get(b)?.ms ?? 0];
    const perRow = Math.max(0, (to - from) / (b - a));
    return Math.max(from + perRow * (rows - a), from / 10);
  }
}
