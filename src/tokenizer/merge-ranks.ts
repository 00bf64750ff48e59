/**
 * The merges of a BPE model as a hash table over pairs of ids.
 *
 * The usual form, a map from the pair as a string to its rank, costs 20 MB for the 50,000 merges of
 * GPT-2; three integers per place cost 1.5 MB, and there is no string to build for a look-up.
 *
 *     place k:  left[k]  right[k]  rank[k]      left[k] = -1: free; a taken place sends on to k + 1
 */
export class MergeRanks {
  readonly #mask: number;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #rank: Int32Array;

  /** @param count how many merges will be added; at most half of the places are ever taken. */
  constructor(count: number) {
    const places = 2 ** Math.ceil(Math.log2(Math.max(2 * count, 2)));
    this.#mask = places - 1;
    this.#left = new Int32Array(places).fill(-1);
    this.#right = new Int32Array(places);
    this.#rank = new Int32Array(places);
  }

  /** A later rank of the same pair replaces the earlier. */
  set(left: number, right: number, rank: number): void {
    const place = this.#find(left, right);
    this.#left[place] = left;
    this.#right[place] = right;
    this.#rank[place] = rank;
  }

  /** The rank of a pair, undefined when it is never merged. */
  get(left: number, right: number): number | undefined {
    const place = this.#find(left, right);
    return this.#left[place] === -1 ? undefined : this.#rank[place];
  }

  /** The place that holds the pair, or the free place where it would go. */
  #find(left: number, right: number): number {
    // Odd constants from the golden ratio and xxHash; the high bits are folded into the low ones.
    const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77);
    let place = (hash ^ (hash >>> 15)) & this.#mask;
    while (this.#left[place] !== -1) {
      if (this.#left[place] === left && this.#right[place] === right) break;
      place = (place + 1) & this.#mask;
    }
    return place;
  }
}
