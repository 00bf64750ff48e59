/**
 * The table of the input's lines while a batch runs: for each line a hash of its name, a check of its content,
 * and whether it has been answered. Open addressing in typed arrays, 13 bytes per slot: 17 to 35
 * per line, 26 MiB for a million lines, and half as much again while it grows. Of 8 million lines, two have the same hash once in 500,000 files.
 */

/** The key of a line in the table. */
export interface LineKey {
  /** 64-bit hash of the name, as two words of 32 bits. */
  readonly name: readonly [number, number];
  /** 32 bits of the content's hash. */
  readonly check: number;
}

/** The most lines; more would take too much memory. */
const mostLines = 2 ** 23;
const firstSlots = 1024;
const slotBytes = 13;
const answered = 1;
const met = 2;

/** The file has too many lines. */
export class TooManyLinesError extends Error {}

export class LineTable {
  #size = 0;
  #names = new Uint32Array(2 * firstSlots);
  #checks = new Uint32Array(firstSlots);
  #flags = new Uint8Array(firstSlots);

  /** The number of lines. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of the table, including the previous one of half the size from when it last grew. */
  get bytes(): number {
    return 1.5 * this.#checks.length * slotBytes;
  }

  /** Adds a line; false if its name is already there. @throws TooManyLinesError */
  add(key: LineKey): boolean {
    if (this.find(key) !== null) return false;
    if (this.#size === mostLines) {
      throw new TooManyLinesError(`has more than ${mostLines} lines`);
    }
    if (4 * (this.#size + 1) > 3 * this.#checks.length) this.#grow();
    this.#put(key, 0);
    this.#size++;
    return true;
  }

  /** The slot of the line with that name, whatever its content; null if there is none. */
  find({ name }: LineKey): number | null {
    const slot = this.#probe(name);
    return this.#isEmpty(slot) ? null : slot;
  }

  /** Whether the line in a slot has that content. */
  hasContent(slot: number, { check }: LineKey): boolean {
    return this.#checks[slot] === check;
  }

  isAnswered(slot: number): boolean {
    return (this.#flag(slot) & answered) !== 0;
  }

  setAnswered(slot: number): void {
    this.#flags[slot] = this.#flag(slot) | answered;
  }

  /** Marks the line as seen in the second pass; false if it was already. */
  meet(slot: number): boolean {
    const before = this.#flag(slot);
    this.#flags[slot] = before | met;
    return (before & met) === 0;
  }

  #flag(slot: number): number {
    return this.#flags[slot] ?? 0;
  }

  #isEmpty(slot: number): boolean {
    return this.#names[2 * slot] === 0 && this.#names[2 * slot + 1] === 0;
  }

  /** The slot that holds the name, or the empty one where it would go. */
  #probe([high, low]: readonly [number, number]): number {
    const mask = this.#checks.length - 1;
    const second = low === 0 && high === 0 ? 1 : low; // no name looks like an empty slot
    for (let slot = high & mask; ; slot = (slot + 1) & mask) {
      if (this.#isEmpty(slot)) return slot;
      if (this.#names[2 * slot] === high && this.#names[2 * slot + 1] === second) return slot;
    }
  }

  #put({ name, check }: LineKey, flags: number): void {
    const slot = this.#probe(name);
    const [high, low] = name;
    this.#names[2 * slot] = high;
    this.#names[2 * slot + 1] = low === 0 && high === 0 ? 1 : low;
    this.#checks[slot] = check;
    this.#flags[slot] = flags;
  }

  #grow(): void {
    const [names, checks, flags] = [this.#names, this.#checks, this.#flags];
    const slots = 2 * checks.length;
    this.#names = new Uint32Array(2 * slots);
    this.#checks = new Uint32Array(slots);
    this.#flags = new Uint8Array(slots);
    for (let slot = 0; slot < checks.length; slot++) {
      const [high, low] = [names[2 * slot] ?? 0, names[2 * slot + 1] ?? 0];
      if (high === 0 && low === 0) continue;
      this.#put({ name: [high, low], check: checks[slot] ?? 0 }, flags[slot] ?? 0);
    }
  }
}
