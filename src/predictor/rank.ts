/**
 * The rank of each layer's predictor under a total size (the paper: 1-4% of the model). Layers are processed
 * one after the other, and the needs of later ones are unknown: they are assumed to be like those seen so
 * far.
 */

/** The expected figures of a predictor of one rank. */
export interface RankCandidate {
  readonly rank: number;
  /** Share of the layer's neurons that it would predict. */
  readonly predicted: number;
}

/** The most that a layer may take, as a multiple of an even split. */
const greediest = 2;

export interface RankSizes {
  /** Bytes of all layers' predictors. */
  readonly totalBytes: number;
  readonly layers: number;
  /** Bytes of a predictor of that rank. */
  readonly bytesOf: (rank: number) => number;
  /** Ranks are multiples of this. */
  readonly step: number;
  /** Higher ranks cannot be better. */
  readonly most: number;
}

export class RankChooser {
  #sizes: RankSizes;
  /** Curves of the previous layers, the latest first. */
  readonly #seen: (readonly RankCandidate[])[] = [];
  #spent = 0;
  #chosen = 0;

  constructor(sizes: RankSizes) {
    this.#sizes = sizes;
  }

  /** Lowers the highest rank where memory does not suffice for more. */
  limit(rank: number): void {
    this.#sizes = { ...this.#sizes, most: Math.min(this.#sizes.most, rank) };
  }

  /** The highest rank that any later layer may get. */
  highest(): number {
    // If the layers before it take as little as they can.
    const { step, most, bytesOf } = this.#sizes;
    const smallest = Math.min(step, most);
    const limit = Math.min(this.#limit(), this.#mostBytes());
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
      // About six candidates, however many ranks there are.
      const next = Math.max(rank + step, Math.ceil((rank * 1.4) / step) * step);
      rank = Math.min(next, most);
      if (rank <= (ranks.at(-1) ?? 0) || this.#sizes.bytesOf(rank) > limit) return ranks;
      ranks.push(rank);
    }
  }

  /** Chooses for the next layer by the expected figures of the {@link candidates}. */
  choose(curve: readonly RankCandidate[]): number {
    const { layers, bytesOf } = this.#sizes;
    const seen = [curve, ...this.#seen];
    // Later layers are assumed to repeat those seen, the latest first, as it is the most similar.
    const imagined = Array.from(
      { length: layers - this.#chosen },
      (_, i) => seen[i % seen.length] ?? curve,
    );
    const [rank = curve[0]?.rank ?? 1] = chooseRanks(imagined, bytesOf, this.#left());
    this.spend(rank, curve);
    return rank;
  }

  /** Accounts for a layer whose rank is known. */
  spend(rank: number, curve: readonly RankCandidate[]): void {
    this.#chosen++;
    if (curve.length > 0) this.#seen.unshift(curve);
    this.#spent += this.#sizes.bytesOf(rank);
  }

  #left(): number {
    return this.#sizes.totalBytes - this.#spent;
  }

  /** No layer takes more than a few times its even split, as training needs memory for it. */
  #mostBytes(): number {
    const { totalBytes, layers } = this.#sizes;
    return (greediest * totalBytes) / layers;
  }

  /** Bytes that the next layer may take when all others take the least. */
  #limit(): number {
    const { layers, bytesOf, step, most } = this.#sizes;
    const others = layers - this.#chosen - 1;
    return this.#left() - others * bytesOf(Math.min(step, most));
  }
}

/**
 * Ranks for all layers, found step by step: each step raises the rank that saves most predictions per byte.
 * Optimal for curves that flatten, except for the last step.
 */
function chooseRanks(
  curves: readonly (readonly RankCandidate[])[],
  bytesOf: (rank: number) => number,
  budget: number,
): number[] {
  const chosen = curves.map(([first]) => first ?? { rank: 1, predicted: 1 });
  let left = budget - chosen.reduce((sum, { rank }) => sum + bytesOf(rank), 0);
  for (;;) {
    let best: { gain: number; layer: number; choice: RankCandidate; cost: number } | null = null;
    for (const [layer, curve] of curves.entries()) {
      const now = chosen[layer];
      if (now === undefined) continue;
      for (const choice of curve) {
        const cost = bytesOf(choice.rank) - bytesOf(now.rank);
        const gain = (now.predicted - choice.predicted) / cost;
        if (cost > 0 && cost <= left && gain > (best?.gain ?? 0)) {
          best = { gain, layer, choice, cost };
        }
      }
    }
    if (best === null) return chosen.map(({ rank }) => rank);
    chosen[best.layer] = best.choice;
    left -= best.cost;
  }
}
