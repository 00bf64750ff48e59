/** The largest of many values. */

/** Orders ids by descending value; equal values by id, so that the order is the same everywhere. */
export function sortedIds(logits: Float32Array): Uint32Array {
  const ids = Uint32Array.from(logits, (_, id) => id);
  return ids.sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
}

/**
 * The `k` ids of the largest values, by descending value. Uses a heap whose top is the smallest of them.
 */
export function topIds(logits: Float32Array, k: number): Uint32Array {
  const heap = new Uint32Array(k);
  /** Whether id a ranks below id b. */
  const below = (a: number, b: number) => {
    const difference = (logits[a] ?? 0) - (logits[b] ?? 0);
    return difference < 0 || (difference === 0 && a > b);
  };
  const sink = (size: number) => {
    let at = 0;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < size && below(heap[child] ?? 0, heap[least] ?? 0)) least = child;
      }
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least] ?? 0, heap[at] ?? 0];
      at = least;
    }
  };
  // The first k in ascending order already form a heap.
  const first = sortedIds(logits.subarray(0, k)).reverse();
  heap.set(first);
  // Nearly all of a vocabulary is below the smallest of the k best: one comparison each.
  let least = logits[heap[0] ?? 0] as number;
  for (let id = k; id < logits.length; id++) {
    if (!((logits[id] as number) > least)) continue;
    heap[0] = id;
    sink(k);
    least = logits[heap[0] ?? 0] as number;
  }
  return heap.sort((a, b) => (below(a, b) ? 1 : -1));
}
