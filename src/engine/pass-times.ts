/**
 * What a pass takes by the number of its rows, as measured: where weights are streamed, more rows cost
 * little; where all is in memory, each may cost a third of the first. A line through all passes
 * tells what was never tried, and bears with single passes that were disturbed; numbers of rows that
 * were seen often are known better than that.
 */

/** By every pass, older ones count so much less. */
const fading = 0.98;
/** Before the line is known: what a row costs, as a share of a pass, and how firmly that is believed. */
const hopedPerRow = 0.05;
const belief = 0.03;
/** Passes of one number of rows that count as much as the line does. */
const enough = 4;
/** A new figure counts so much in the mean of its number of rows, once there are some. */
const weight = 0.2;
/** A pass that takes longer than so many times what is expected was disturbed. */
export const disturbed = 2.5;

export class PassTimes {
  /** By rows: the mean, and how many passes it is of. */
  readonly #means = new Map<number, { ms: number; passes: number }>();
  /** Faded sums over passes: 1, rows, rows^2, milliseconds, rows x milliseconds. */
  #sums = { one: 0, rows: 0, squares: 0, ms: 0, products: 0 };
  #sequences = 1;
  #passes = 0;

  /** A pass over so many rows of so many sequences, each of which got a token or more. */
  add(rows: number, sequences: number, measuredMs: number): void {
    const ms =
      this.#passes < enough ? measuredMs : Math.min(measuredMs, disturbed * this.expect(rows));
    this.#passes++;
    this.#sequences += weight * (sequences - this.#sequences);
    const sums = this.#sums;
    this.#sums = {
      one: fading * sums.one + 1,
      rows: fading * sums.rows + rows,
      squares: fading * sums.squares + rows * rows,
      ms: fading * sums.ms + ms,
      products: fading * sums.products + rows * ms,
    };
    const mean = this.#means.get(rows) ?? { ms: 0, passes: 0 };
    mean.passes++;
    mean.ms += Math.max(weight, 1 / mean.passes) * (ms - mean.ms);
    this.#means.set(rows, mean);
  }

  /** Sequences that lately went along in a pass, on average. */
  get sequences(): number {
    return this.#sequences;
  }

  /** The most rows that were measured; 0 before the first pass. */
  get mostRows(): number {
    return Math.max(0, ...this.#means.keys());
  }

  /** Milliseconds of a pass over so many rows; 1 before the first one. */
  expect(rows: number): number {
    const { one, rows: sumRows, squares, ms, products } = this.#sums;
    if (one === 0) return 1;
    const [middle, meanMs] = [sumRows / one, ms / one];
    const spread = squares / one - middle * middle;
    const together = products / one - middle * meanMs;
    const hoped = (hopedPerRow * meanMs) / (1 + hopedPerRow * (middle - 1));
    const perRow = Math.max(0, (together + belief * hoped) / (spread + belief));
    const line = Math.max(meanMs + perRow * (rows - middle), meanMs / 10);
    const { ms: own, passes } = this.#means.get(rows) ?? { ms: 0, passes: 0 };
    return (enough * line + passes * own) / (enough + passes);
  }
}
