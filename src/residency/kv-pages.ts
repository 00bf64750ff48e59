/**
 * Records which page of the KV cache holds which positions of which sequence. Pages are allocated and
 * reference-counted; a sequence that begins like another one shares its pages, and gets its own copy of the
 * last one when it appends to it. This is the book-keeping alone: the owner of keys and values copies them.
 */

import { InputError } from '../errors.ts';
import { type KvLayout, pagePositions } from '../plan/kv-layout.ts';

/** A page that has to be copied before it is written: its first `rows` rows. */
export interface PageCopy {
  readonly from: number;
  readonly to: number;
  readonly rows: number;
}

/** Pages and the tables of sequences, in the first memory. */
export class KvPages {
  readonly #layout: KvLayout;
  readonly #tables: Uint32Array;
  /** Sequences that hold each page. */
  readonly #holders: Uint32Array;
  /** Free pages, the lowest last, so that a single sequence gets consecutive pages. */
  readonly #free: number[];
  readonly #freeSlots: number[];

  constructor(memory: WebAssembly.Memory, layout: KvLayout) {
    const { tables, sequences, pagesPerSequence, pages } = layout;
    this.#layout = layout;
    this.#tables = new Uint32Array(memory.buffer, tables, sequences * pagesPerSequence);
    this.#holders = new Uint32Array(pages);
    this.#free = Array.from({ length: pages }, (_, i) => pages - 1 - i);
    this.#freeSlots = Array.from({ length: sequences }, (_, i) => sequences - 1 - i);
  }

  /** Pages that no sequence holds. */
  get free(): number {
    return this.#free.length;
  }

  /** @throws InputError when as many sequences are open as were planned */
  open(): PageList {
    const slot = this.#freeSlots.pop();
    if (slot === undefined) {
      const { sequences } = this.#layout;
      throw new InputError(
        `${sequences === 1 ? 'the one planned sequence is' : `all ${sequences} planned sequences are`} open already`,
        {},
        'Close one, or plan for more of them',
      );
    }
    const { tables, pagesPerSequence } = this.#layout;
    const first = slot * pagesPerSequence;
    const table = this.#tables.subarray(first, first + pagesPerSequence);
    return new PageList(this, table, tables + 4 * first, () => this.#freeSlots.push(slot));
  }

  /** How many sequences hold a page. */
  holders(page: number): number {
    return this.#holders[page] ?? 0;
  }

  /**
   * Takes `count` free pages, the lowest first.
   * @throws InputError when there are fewer
   */
  take(count: number): number[] {
    if (count > this.#free.length) {
      const { positions, sequences } = this.#layout;
      throw new InputError(
        `the KV cache is full: ${count * pagePositions} positions are needed, ` +
          `${this.#free.length * pagePositions} of the ${positions} planned for ${sequences} sequences are free`,
        {},
        'Close or shorten a sequence, or plan for more positions',
      );
    }
    const taken = this.#free.splice(this.#free.length - count, count).reverse();
    for (const page of taken) this.#holders[page] = 1;
    return taken;
  }

  /** Adds a sequence that holds the page. */
  share(page: number): void {
    this.#holders[page] = this.holders(page) + 1;
  }

  /** Removes a sequence that held the page; the page is free when none holds it. */
  release(page: number): void {
    const holders = this.holders(page) - 1;
    this.#holders[page] = holders;
    if (holders > 0) return;
    // Kept sorted, so that a sequence gets neighbouring pages where possible: attention is faster on long
    // runs.
    let at = this.#free.length;
    while (at > 0 && (this.#free[at - 1] ?? 0) < page) at--;
    this.#free.splice(at, 0, page);
  }
}

/** The pages of one sequence. */
export class PageList {
  /** The table from which attention reads them. */
  readonly address: number;
  readonly #pool: KvPages;
  readonly #table: Uint32Array;
  readonly #close: () => void;
  #count = 0;
  #open = true;

  /** @param table (pagesPerSequence), of which the first `count` are in use */
  constructor(pool: KvPages, table: Uint32Array, address: number, close: () => void) {
    this.address = address;
    this.#pool = pool;
    this.#table = table;
    this.#close = close;
  }

  /** The row of the cache that holds a position. */
  rowOf(position: number): number {
    const page = this.#table[Math.floor(position / pagePositions)] ?? 0;
    return page * pagePositions + (position % pagePositions);
  }

  /**
   * Makes room for positions [length, end), which may then be written: allocates pages for new positions, and
   * replaces a shared page that contains `length` by an unshared copy.
   * @returns the page to copy before writing, or null
   * @throws InputError when pages are short; then nothing has changed
   */
  extend(length: number, end: number): PageCopy | null {
    const wanted = Math.ceil(end / pagePositions);
    const rows = length % pagePositions;
    const last = Math.floor(length / pagePositions);
    const shared = rows > 0 && end > length && this.#pool.holders(this.#table[last] ?? 0) > 1;
    const taken = this.#pool.take(Math.max(0, wanted - this.#count) + (shared ? 1 : 0));
    let copy: PageCopy | null = null;
    if (shared) {
      const [from = 0, to = 0] = [this.#table[last], taken.shift()];
      this.#pool.release(from);
      this.#table[last] = to;
      copy = { from, to, rows };
    }
    for (const page of taken) this.#table[this.#count++] = page;
    return copy;
  }

  /** Releases the pages beyond `length` positions. */
  truncate(length: number): void {
    const kept = Math.ceil(length / pagePositions);
    while (this.#count > kept) this.#pool.release(this.#table[--this.#count] ?? 0);
  }

  /** A new list that begins with the same pages. */
  fork(): PageList {
    const copy = this.#pool.open();
    for (let i = 0; i < this.#count; i++) {
      const page = this.#table[i] ?? 0;
      this.#pool.share(page);
      copy.#table[i] = page;
    }
    copy.#count = this.#count;
    return copy;
  }

  /** Releases all pages; further calls do nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.truncate(0);
    this.#close();
  }
}
