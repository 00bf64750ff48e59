/**
 * The misses of the best possible neuron store, which knows all future lists: Belady's rule, with the option
 * not to keep a neuron that was read, and with the best initial contents. No store with the same number of
 * slots misses less on the same lists, so that the stores here can be compared with it.
 */

/** A gap of ids in one byte; this value means that the gap continues in the next byte. */
const longGap = 255;

/** Compact lists of wanted neurons of all layers, token by token. */
export class WantedTrace {
  readonly #layers: { readonly neurons: number; bytes: Uint8Array; end: number; steps: number }[];
  readonly #mostBytes: number;
  #full = false;

  /**
   * @param neurons of each layer
   * @param mostBytes the most bytes for the lists; when they are full, further lists are dropped
   */
  constructor(neurons: readonly number[], mostBytes: number) {
    this.#mostBytes = Math.floor(mostBytes / Math.max(1, neurons.length));
    this.#layers = neurons.map((count) => ({
      neurons: count,
      bytes: new Uint8Array(Math.min(4096, this.#mostBytes)),
      end: 0,
      steps: 0,
    }));
  }

  /** Whether further lists are dropped. */
  get full(): boolean {
    return this.#full;
  }

  /** Tokens that are kept in all layers. */
  get tokens(): number {
    return Math.min(...this.#layers.map(({ steps }) => steps));
  }

  /** Adds a layer's step of one token, which wants these neurons, ascending. */
  add(layer: number, wanted: Uint32Array): void {
    const kept = this.#layers[layer];
    if (this.#full || kept === undefined) return;
    const needed = kept.end + wanted.length + 2 + Math.ceil(kept.neurons / longGap);
    if (needed > this.#mostBytes) {
      this.#full = true;
      return;
    }
    if (needed > kept.bytes.length) {
      const larger = new Uint8Array(Math.min(this.#mostBytes, 2 * needed));
      larger.set(kept.bytes);
      kept.bytes = larger;
    }
    let next = 0;
    // A list ends with the gap from its last id to the number of neurons.
    for (const id of [...wanted, kept.neurons]) {
      let gap = id - next;
      for (; gap >= longGap; gap -= longGap) kept.bytes[kept.end++] = longGap;
      kept.bytes[kept.end++] = gap;
      next = id + 1;
    }
    kept.steps++;
  }

  /** The kept tokens' lists of one layer. */
  lists(layer: number): Uint32Array[] {
    const kept = this.#layers[layer];
    const lists: Uint32Array[] = [];
    if (kept === undefined) return lists;
    let at = 0;
    while (lists.length < this.tokens) {
      const ids: number[] = [];
      for (let id = 0; ; id++) {
        while (kept.bytes[at] === longGap) {
          id += longGap;
          at++;
        }
        id += kept.bytes[at++] ?? 0;
        if (id >= kept.neurons) break;
        ids.push(id);
      }
      lists.push(Uint32Array.from(ids));
    }
    return lists;
  }
}

/**
 * The fewest neurons of one layer that any store of `slots` misses over these lists.
 * @param lists ids below `neurons`, each at most once in a list
 */
export function fewestMisses(
  lists: readonly Uint32Array[],
  neurons: number,
  slots: number,
): number {
  const never = lists.length;
  const nextUses = nextUsesOf(lists, neurons);
  const nextUse = nextUses.first;
  const held = new Uint8Array(neurons).fill(1);
  /** Neurons by the step of their next use; for some of them this step is outdated. */
  const byNextUse: number[][] = Array.from({ length: never + 1 }, () => []);
  for (const [id, step] of nextUse.entries()) byNextUse[step]?.push(id);
  let [count, farthest, missed] = [neurons, never, 0];
  const shrink = () => {
    while (count > slots) {
      const id = byNextUse[farthest]?.pop();
      if (id === undefined) farthest--;
      else if (held[id] === 1 && nextUse[id] === farthest) {
        held[id] = 0;
        count--;
      }
    }
  };
  shrink();
  lists.forEach((list, step) => {
    list.forEach((id, i) => {
      if (held[id] === 0) {
        missed++;
        held[id] = 1;
        count++;
      }
      const next = nextUses.after[step]?.[i] ?? never;
      nextUse[id] = next;
      byNextUse[next]?.push(id);
      farthest = Math.max(farthest, next);
    });
    shrink();
  });
  return missed;
}

/** For each neuron the first step that uses it, and for each entry of a list the next step that does. */
function nextUsesOf(lists: readonly Uint32Array[], neurons: number) {
  const first = new Uint32Array(neurons).fill(lists.length);
  const after: Uint32Array[] = [];
  for (let step = lists.length - 1; step >= 0; step--) {
    const list = lists[step] ?? new Uint32Array();
    after[step] = list.map((id) => first[id] ?? lists.length);
    for (const id of list) first[id] = step;
  }
  return { first, after };
}
