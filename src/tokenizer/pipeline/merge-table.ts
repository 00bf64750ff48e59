/**
 * The merges of a BPE model: three lists in the order of their ranks, and a hash table over pairs of
 * ids that finds a rank.
 *
 * The usual form, a map from the pair as a string to its rank, costs 20 MB for the 50,000 merges of
 * GPT-2; this costs 1 MB, and a look-up builds no string.
 *
 *     rank r:   left[r]  right[r]  merged[r]
 *     places    hash of the pair -> r + 1        0: free; if a place is taken, the next one is tried
 */
export class MergeTable {
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly merged: Int32Array;
  readonly #places: Int32Array;
  readonly #mask: number;

  /**
   * The lists, each of shape (merges): the pairs and their results. If a pair occurs twice, the last merge
   * counts.
   */
  constructor({ left, right, merged }: Pick<MergeTable, 'left' | 'right' | 'merged'>) {
    this.left = left;
    this.right = right;
    this.merged = merged;
    const places = 2 ** Math.ceil(Math.log2(Math.max(1.5 * left.length, 2)));
    this.#places = new Int32Array(places);
    this.#mask = places - 1;
    for (let rank = 0; rank < left.length; rank++) {
      this.#places[this.#place(left[rank] as number, right[rank] as number)] = rank + 1;
    }
  }

  /** The rank of the pair; lower ranks are merged first; -1 if it is never merged. */
  rankOf(left: number, right: number): number {
    return (this.#places[this.#place(left, right)] as number) - 1;
  }

  /** The place that holds the pair, or the free place where it would go. */
  #place(left: number, right: number): number {
    // Odd constants from the golden ratio and xxHash; the high bits are folded into the low ones.
    const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77);
    let place = (hash ^ (hash >>> 15)) & this.#mask;
    for (;;) {
      const rank = (this.#places[place] as number) - 1;
      if (rank < 0 || (this.left[rank] === left && this.right[rank] === right)) return place;
      place = (place + 1) & this.#mask;
    }
  }
}
