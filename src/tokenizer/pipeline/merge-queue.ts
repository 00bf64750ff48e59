/**
 * The possible merges of a word, the lowest rank first; among equal ranks, the leftmost first.
 * A binary heap over three columns, which grow as needed and are reused for every word.
 */
export class MergeQueue {
  #rank = new Int32Array(64);
  #position = new Int32Array(64);
  #merged = new Int32Array(64);
  #size = 0;

  get isEmpty(): boolean {
    return this.#size === 0;
  }

  /** Position of the left part of the first merge. */
  get position(): number {
    return this.#position[0] as number;
  }

  /** The id that results from the first merge. */
  get merged(): number {
    return this.#merged[0] as number;
  }

  clear(): void {
    this.#size = 0;
  }

  push(rank: number, position: number, merged: number): void {
    if (this.#size === this.#rank.length) this.#grow();
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(rank, position, parent)) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, rank, position, merged);
  }

  /** Removes the first merge. */
  pop(): void {
    const last = --this.#size;
    const rank = this.#rank[last] as number;
    const position = this.#position[last] as number;
    const merged = this.#merged[last] as number;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= last) break;
      if (
        child + 1 < last &&
        this.#isBefore(this.#rank[child + 1] as number, this.#position[child + 1] as number, child)
      ) {
        child++;
      }
      if (this.#isBefore(rank, position, child)) break;
      this.#move(child, at);
      at = child;
    }
    this.#put(at, rank, position, merged);
  }

  #isBefore(rank: number, position: number, other: number): boolean {
    const theirs = this.#rank[other] as number;
    return rank < theirs || (rank === theirs && position < (this.#position[other] as number));
  }

  #move(from: number, to: number): void {
    this.#put(
      to,
      this.#rank[from] as number,
      this.#position[from] as number,
      this.#merged[from] as number,
    );
  }

  #put(at: number, rank: number, position: number, merged: number): void {
    this.#rank[at] = rank;
    this.#position[at] = position;
    this.#merged[at] = merged;
  }

  #grow(): void {
    const larger = (column: Int32Array) => {
      const copy = new Int32Array(2 * column.length);
      copy.set(column);
      return copy;
    };
    this.#rank = larger(this.#rank);
    this.#position = larger(this.#position);
    this.#merged = larger(this.#merged);
  }
}
