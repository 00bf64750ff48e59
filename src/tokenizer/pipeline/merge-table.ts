/**
 * The merges of a BPE model as a hash table over pairs of ids.
 *
 * The usual form, a map from the pair as a string to its rank, costs 20 MB for the 50,000 merges of
 * GPT-2; four integers per place cost 2 MB, and there is no string to build for a look-up.
 *
 *     place k:  left[k]  right[k]  rank[k]  merged[k]      left[k] = -1: free; a taken place sends on to k + 1
 */
export class MergeTable {
  readonly #mask: number;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #rank: Int32Array;
  readonly #merged: Int32Array;

  /** @param count how many merges will be added; at most half of the places are ever taken. */
  constructor(count: number) {
    const places = 2 ** Math.ceil(Math.log2(Math.max(2 * count, 2)));
    this.#mask = places - 1;
    this.#left = new Int32Array(places).fill(-1);
    this.#right = new Int32Array(places);
    this.#rank = new Int32Array(places);
    this.#merged = new Int32Array(places);
  }

  /** A later merge of the same pair replaces the earlier. */
  set(left: number, right: number, rank: number, merged: number): void {
    const place = this.#place(left, right);
    this.#left[place] = left;
    this.#right[place] = right;
    this.#rank[place] = rank;
    this.#merged[place] = merged;
  }

  /** Where the pair is in the table; -1 when it is never merged. */
  find(left: number, right: number): number {
    const place = this.#place(left, right);
    return this.#left[place] === -1 ? -1 : place;
  }

  /** The lower, the earlier it is merged. */
  rankAt(place: number): number {
    return this.#rank[place] as number;
  }

  /** The id that the pair becomes. */
  mergedAt(place: number): number {
    return this.#merged[place] as number;
  }

  /** The place that holds the pair, or the free place where it would go. */
  #place(left: number, right: number): number {
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
