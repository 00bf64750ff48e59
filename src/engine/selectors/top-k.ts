/**
 * The k largest of some values, of equal ones those that PyTorch takes: routers of trained models sometimes
 * have equal rows (experts that were copied from one FFN and not trained apart), and then only the
 * reference's choice is right. On CPUs `torch.topk` is C++'s `nth_element`, or `partial_sort` where k is
 * small, of libstdc++; where equal values make a difference, this file repeats their steps.
 */

/** From this share of the values on, `nth_element` chooses. */
const partialSortShare = 64;

/**
 * Places of the `k` largest values, in no order.
 * @param values without NaN
 * @param k at most as many as there are
 */
export function topK(values: ArrayLike<number>, k: number): number[] {
  const places = Array.from({ length: values.length }, (_, place) => place);
  if (k >= places.length) return places;
  const value = (place: number) => values[place] ?? 0;
  const sorted = largestFirst(values, k + 1);
  // The order matters only where the last chosen value equals the first one that is not chosen.
  const tied = value(sorted[k - 1] ?? 0) === value(sorted[k] ?? 0);
  if (k === 0 || !tied) return sorted.slice(0, k);
  const items = new Selection(places, value);
  if (k * partialSortShare <= places.length) items.heapSelect(0, k, places.length);
  else items.select(k - 1);
  return places.slice(0, k);
}

/**
 * Places of the `count` largest values, the largest first, of equal ones the first; for few of many values.
 */
export function largestFirst(values: ArrayLike<number>, count: number): number[] {
  const found: number[] = [];
  const largest: number[] = [];
  for (let place = 0; place < values.length; place++) {
    const value = values[place] ?? 0;
    if (found.length === count && !(value > (largest[count - 1] ?? 0))) continue;
    let at = Math.min(found.length, count - 1);
    for (; at > 0 && value > (largest[at - 1] ?? 0); at--) {
      found[at] = found[at - 1] ?? 0;
      largest[at] = largest[at - 1] ?? 0;
    }
    found[at] = place;
    largest[at] = value;
  }
  return found;
}

/** Orders places by their values, the largest first, with libstdc++'s steps. */
class Selection {
  readonly #places: number[];
  readonly #value: (place: number) => number;

  constructor(places: number[], value: (place: number) => number) {
    this.#places = places;
    this.#value = value;
  }

  /** `nth_element`: afterwards no value before `nth` is smaller than the value at `nth` or any after it. */
  select(nth: number): void {
    let [first, last] = [0, this.#places.length];
    let depth = 2 * Math.floor(Math.log2(last));
    while (last - first > 3) {
      if (depth-- === 0) {
        this.heapSelect(first, nth + 1, last);
        this.#swap(first, nth);
        return;
      }
      const cut = this.#partition(first, last);
      if (cut <= nth) first = cut;
      else last = cut;
    }
    this.#insertionSort(first, last);
  }

  /**
   * Moves the largest of [first, last) to [first, middle), as a heap with the smallest of them at `first`.
   */
  heapSelect(first: number, middle: number, last: number): void {
    const length = middle - first;
    for (let parent = (length >> 1) - 1; parent >= 0; parent--) {
      this.#siftDown(first, parent, length, this.#at(first + parent));
    }
    for (let i = middle; i < last; i++) {
      if (!this.#before(this.#at(i), this.#at(first))) continue;
      const item = this.#at(i);
      this.#places[i] = this.#at(first);
      this.#siftDown(first, 0, length, item);
    }
  }

  #at(index: number): number {
    return this.#places[index] ?? 0;
  }

  /** Whether a place comes before another one: its value is larger. */
  #before(a: number, b: number): boolean {
    return this.#value(a) > this.#value(b);
  }

  #swap(i: number, j: number): void {
    const item = this.#at(i);
    this.#places[i] = this.#at(j);
    this.#places[j] = item;
  }

  /** Parts [first, last) about the median of three; returns where the second part begins. */
  #partition(first: number, last: number): number {
    this.#medianToFirst(first, first + 1, first + ((last - first) >> 1), last - 1);
    const pivot = this.#at(first);
    let [low, high] = [first + 1, last];
    for (;;) {
      while (this.#before(this.#at(low), pivot)) low++;
      high--;
      while (this.#before(pivot, this.#at(high))) high--;
      if (low >= high) return low;
      this.#swap(low++, high);
    }
  }

  #medianToFirst(target: number, a: number, b: number, c: number): void {
    const before = (i: number, j: number) => this.#before(this.#at(i), this.#at(j));
    if (before(a, b)) this.#swap(target, before(b, c) ? b : before(a, c) ? c : a);
    else this.#swap(target, before(a, c) ? a : before(b, c) ? c : b);
  }

  #insertionSort(first: number, last: number): void {
    for (let i = first + 1; i < last; i++) {
      const item = this.#at(i);
      let to = i;
      while (to > first && this.#before(item, this.#at(to - 1))) {
        this.#places[to] = this.#at(to - 1);
        to--;
      }
      this.#places[to] = item;
    }
  }

  /** `__adjust_heap`: the hole at `hole` goes to the bottom, then the item up from there. */
  #siftDown(first: number, hole: number, length: number, item: number): void {
    let [at, child] = [hole, hole];
    while (child < (length - 1) >> 1) {
      child = 2 * (child + 1);
      if (this.#before(this.#at(first + child), this.#at(first + child - 1))) child--;
      this.#places[first + at] = this.#at(first + child);
      at = child;
    }
    if ((length & 1) === 0 && child === (length - 2) >> 1) {
      child = 2 * (child + 1);
      this.#places[first + at] = this.#at(first + child - 1);
      at = child - 1;
    }
    let parent = (at - 1) >> 1;
    while (at > hole && this.#before(this.#at(first + parent), item)) {
      this.#places[first + at] = this.#at(first + parent);
      at = parent;
      parent = (at - 1) >> 1;
    }
    this.#places[first + at] = item;
  }
}
