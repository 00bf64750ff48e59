/**
 * The rank of each layer's predictor under a total size (the paper: 1-4% of the model). Layers come
 * one after the other, and what later ones will need is not known: a layer takes what is worth its
 * price, as long as enough is left for the others.
 */

/** What a predictor of a rank would be like. */
export interface RankCandidate {
  readonly rank: number;
  /** Share of the layer's neurons that it would predict. */
  readonly predicted: number;
}

/**
 * What a byte of predictor costs, in bytes of predicted neurons per token. A byte of DRAM given to
 * neurons instead saves about 0.03 bytes per token, as the neurons that just do not fit fire for 3%
 * of tokens; and of the predicted neurons about a third have to be read.
 */
const pricePerByte = 0.1;
/** What is kept back for each layer to come, as a share of an even split. */
const reserve = 0.75;
/** The most that a layer may take, in even splits. */
const greediest = 2;

export interface RankSizes {
  /** Bytes of all layers' predictors. */
  readonly totalBytes: number;
  readonly layers: number;
  /** Bytes of a predictor of that rank. */
  readonly bytesOf: (rank: number) => number;
  /** Ranks are multiples of this. */
  readonly step: number;
  /** Beyond this rank it could not get better. */
  readonly most: number;
}

export class RankChooser {
  #sizes: RankSizes;
  #spent = 0;
  #chosen = 0;

  constructor(sizes: RankSizes) {
    this.#sizes = sizes;
  }

  /** Lowers the highest rank there is: memory may not suffice for more. */
  limit(rank: number): void {
    this.#sizes = { ...this.#sizes, most: Math.min(this.#sizes.most, rank) };
  }

  /** The highest rank that any layer to come may get. */
  highest(): number {
    // Should the layers until then take as little as they can.
    const { layers, step, most, bytesOf, totalBytes } = this.#sizes;
    const smallest = Math.min(step, most);
    const others = layers - this.#chosen - 1;
    const left = totalBytes - this.#spent - Math.max(0, others) * bytesOf(smallest);
    const limit = Math.min(left, this.#mostBytes());
    let rank = smallest;
    while (rank < most && bytesOf(Math.min(rank + step, most)) <= limit) {
      rank = Math.min(rank + step, most);
    }
    return rank;
  }

  /** The ranks that the next layer may have, ascending; at least the smallest. */
  candidates(): number[] {
    const { step, most } = this.#sizes;
    const smallest = Math.min(step, most);
    const limit = Math.min(this.#limit(), this.#mostBytes());
    const ranks = [smallest];
    for (let rank = smallest; ; ) {
      // About six of them, however many there could be.
      const next = Math.max(rank + step, Math.ceil((rank * 1.4) / step) * step);
      rank = Math.min(next, most);
      if (rank <= (ranks.at(-1) ?? 0) || this.#sizes.bytesOf(rank) > limit) return ranks;
      ranks.push(rank);
    }
  }

  /**
   * Chooses for the next layer.
   * @param curve what the {@link candidates} would be like
   * @param ffnBytes bytes of all of the layer's neurons
   */
  choose(curve: readonly RankCandidate[], ffnBytes: number): number {
    const cost = ({ rank, predicted }: RankCandidate) =>
      predicted * ffnBytes + pricePerByte * this.#sizes.bytesOf(rank);
    const best = curve.reduce((a, b) => (cost(b) < cost(a) ? b : a));
    this.spend(best.rank);
    return best.rank;
  }

  /** Accounts for a layer whose rank is known. */
  spend(rank: number | null): void {
    this.#chosen++;
    if (rank !== null) this.#spent += this.#sizes.bytesOf(rank);
  }

  /** No layer takes more than a few times its even split, for which training needs memory. */
  #mostBytes(): number {
    const { totalBytes, layers } = this.#sizes;
    return (greediest * totalBytes) / layers;
  }

  /** Bytes that the next layer may take. */
  #limit(): number {
    const { totalBytes, layers, bytesOf, step, most } = this.#sizes;
    const others = layers - this.#chosen - 1;
    const each = Math.max(bytesOf(Math.min(step, most)), (reserve * totalBytes) / layers);
    return totalBytes - this.#spent - others * each;
  }
}
