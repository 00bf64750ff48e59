/**
 * The measured duration of a pass by its number of rows: where weights are streamed, more rows cost little;
 * where all weights are in memory, each further row may cost a third of the first. A line fitted through all
 * passes estimates numbers of rows that were never measured, and tolerates single passes that were disturbed;
 * for numbers of rows measured often, their mean counts more than the line.
 */

/** Factor by which each pass lowers the weight of older ones. */
const fading = 0.98;
/** Prior of the line: the cost of a row as a share of a pass, and the weight of this prior. */
const hopedPerRow = 0.05;
const belief = 0.03;
/** The number of passes of one number of rows whose mean counts as much as the line. */
const enough = 4;
/** Weight of a new measurement in the mean of its number of rows, after the first few. */
const weight = 0.2;
/** A pass that takes more than this many times the expected duration was disturbed. */
export const disturbed = 2.5;

export class PassTimes {
  /** By rows: the mean, and the number of passes in it. */
  readonly #means = new Map<number, { ms: number; passes: number }>();
  /** Faded sums over passes: 1, rows, rows^2, milliseconds, rows x milliseconds. */
  #sums = { one: 0, rows: 0, squares: 0, ms: 0, products: 0 };
  #sequences = 1;
  #passes = 0;

  /** Records a pass over rows of some sequences, each of which got at least one token. */
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

  /** Recent mean number of sequences in a pass. */
  get sequences(): number {
    return this.#sequences;
  }

  /** The most rows that were measured; 0 before the first pass. */
  get mostRows(): number {
    return Math.max(0, ...this.#means.keys());
  }

  /** Expected milliseconds of a pass over `rows` rows; 1 before the first pass. */
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
