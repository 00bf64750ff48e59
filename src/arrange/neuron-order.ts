/**
 * Finds an order in which neurons that fire together lie together, so that a token's neurons come from flash
 * in few long reads: edges between similar neurons, the most similar first, are joined to paths (as in
 * Ripple, ASPLOS 2025), and the paths are concatenated.
 *
 *     most alike first       a-b   c-d-e      then the ends       a-b-f   c-d-e
 */

import type { Neighbours } from './co-activation.ts';

/** No neuron. */
const none = -1;

/**
 * @returns (neurons): the neuron at each place. Neurons without similar ones keep their order, at the end.
 */
export function orderOf({ from, to, likeness, count }: Neighbours, neurons: number): Uint32Array {
  const edges = Uint32Array.from({ length: count }, (_, edge) => edge);
  edges.sort((a, b) => (likeness[b] ?? 0) - (likeness[a] ?? 0) || a - b);
  const paths = new Paths(neurons);
  for (const edge of edges) paths.join(from[edge] ?? 0, to[edge] ?? 0);
  return paths.laid();
}

/** The place of each neuron in an order. */
export function placesIn(order: Uint32Array): Uint32Array {
  const places = new Uint32Array(order.length);
  order.forEach((neuron, place) => {
    places[neuron] = place;
  });
  return places;
}

/** The rows of `bytes` in another order. */
export function permuteRows(bytes: Uint8Array, order: Uint32Array): Uint8Array {
  const result = new Uint8Array(bytes.length);
  gatherRows(result, bytes, order, bytes.length / order.length);
  return result;
}

/** Copies the listed rows of `bytes` to `target`, one after the other. */
export function gatherRows(
  target: Uint8Array,
  bytes: Uint8Array,
  rows: Uint32Array,
  rowBytes: number,
): void {
  rows.forEach((row, place) => {
    target.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), place * rowBytes);
  });
}

/** Neurons in paths: each neuron begins as a separate path. */
class Paths {
  /** Up to two neighbours of each. */
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  /** Union-find over paths. */
  readonly #parent: Uint32Array;

  constructor(neurons: number) {
    this.#left = new Int32Array(neurons).fill(none);
    this.#right = new Int32Array(neurons).fill(none);
    this.#parent = Uint32Array.from({ length: neurons }, (_, i) => i);
  }

  /** Joins two paths, if both neurons are ends of different ones. */
  join(a: number, b: number): void {
    if (!this.#isEnd(a) || !this.#isEnd(b)) return;
    const [pathA, pathB] = [this.#find(a), this.#find(b)];
    if (pathA === pathB) return;
    this.#parent[pathA] = pathB;
    this.#link(a, b);
    this.#link(b, a);
  }

  /** All paths one after the other, then the neurons in none. */
  laid(): Uint32Array {
    const neurons = this.#left.length;
    const order = new Uint32Array(neurons);
    const seen = new Uint8Array(neurons);
    let count = 0;
    const lay = (start: number) => {
      for (let at = start; at !== none; ) {
        seen[at] = 1;
        order[count++] = at;
        const [left = none, right = none] = [this.#left[at], this.#right[at]];
        at = left !== none && seen[left] === 0 ? left : right;
        if (at !== none && seen[at] === 1) at = none;
      }
    };
    for (let i = 0; i < neurons; i++) {
      if (seen[i] === 0 && this.#isEnd(i) && this.#left[i] !== none) lay(i);
    }
    for (let i = 0; i < neurons; i++) if (seen[i] === 0) lay(i);
    return order;
  }

  #isEnd(neuron: number): boolean {
    return this.#right[neuron] === none;
  }

  #link(neuron: number, other: number): void {
    if (this.#left[neuron] === none) this.#left[neuron] = other;
    else this.#right[neuron] = other;
  }

  #find(neuron: number): number {
    const parent = this.#parent;
    let at = neuron;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at] ?? 0] ?? 0;
      at = parent[at] ?? 0;
    }
    return at;
  }
}
