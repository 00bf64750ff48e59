/**
 * Texts of a file in one buffer, one after the other: 300,000 strings would cost 400 ms of garbage
 * collection, and most are only ever looked up.
 *
 *     bytes   | length, u64 | text | length, u64 | text | ...
 *
 * This is how a GGUF file stores a list, so that its texts are copied in large pieces and not one by one.
 */

/** Bytes before each text, which nobody reads. */
const lengthBytes = 8;

export class TextList implements Iterable<string> {
  /** UTF-8, text after text, with {@link lengthBytes} before each. */
  readonly bytes: Buffer;
  /** Shape (length): where each text ends in `bytes`. */
  readonly ends: Uint32Array;

  constructor(bytes: Buffer, ends: Uint32Array) {
    this.bytes = bytes;
    this.ends = ends;
  }

  static of(texts: Iterable<string>): TextList {
    const parts = Array.from(texts, (text) => Buffer.from(text));
    const list = new TextListBuilder(parts.length);
    for (const part of parts) list.add(part, 0, part.length);
    return list.finish();
  }

  /** A list of `count` texts, which `fill` adds in order. */
  static async fill(
    count: number,
    fill: (list: TextListBuilder) => Promise<void>,
  ): Promise<TextList> {
    const list = new TextListBuilder(count);
    await fill(list);
    return list.finish();
  }

  get length(): number {
    return this.ends.length;
  }

  /** Where text `index` begins in `bytes`. */
  start(index: number): number {
    return lengthBytes + (index === 0 ? 0 : (this.ends[index - 1] as number));
  }

  /** Text `index`; undefined beyond the end. Bytes that are not UTF-8 become U+FFFD. */
  text(index: number): string | undefined {
    const end = this.ends[index];
    return end === undefined ? undefined : this.bytes.toString('utf8', this.start(index), end);
  }

  *[Symbol.iterator](): Generator<string> {
    for (let index = 0; index < this.length; index++) yield this.text(index) as string;
  }
}

export class TextListBuilder {
  readonly #ends: Uint32Array;
  #bytes = Buffer.allocUnsafe(64 * 1024);
  #count = 0;
  #end = 0;

  constructor(count: number) {
    this.#ends = new Uint32Array(count);
  }

  /** Adds the text in bytes [start, end) of `from`. */
  add(from: Buffer, start: number, end: number): void {
    const length = end - start;
    this.#room(lengthBytes + length);
    from.copy(this.#bytes, this.#end + lengthBytes, start, end);
    this.#end += lengthBytes + length;
    this.#ends[this.#count++] = this.#end;
  }

  /**
   * Adds texts of `from`, each after its length as a u64, from byte `start` on: those that lie in it as a
   * whole, up to one of 64 KiB or more, which is left to {@link add}, and up to the list's own length.
   * @returns where the last of them ends
   */
  addPrefixed(from: Buffer, start: number): number {
    // Plain variables: most of this loop runs before it is compiled, and private fields are slow then.
    const ends = this.#ends;
    const most = ends.length;
    const size = from.length;
    const moved = this.#end - start;
    let count = this.#count;
    let end = start;
    while (count < most) {
      const text = end + lengthBytes;
      if (text > size) break;
      const next = text + ((from[end] as number) | ((from[end + 1] as number) << 8));
      if (next > size || !isShort(from, end)) break;
      ends[count++] = next + moved;
      end = next;
    }
    this.#room(end - start);
    from.copy(this.#bytes, this.#end, start, end);
    this.#end += end - start;
    this.#count = count;
    return end;
  }

  /** The texts that are still to be added. */
  get missing(): number {
    return this.#ends.length - this.#count;
  }

  finish(): TextList {
    return new TextList(this.#bytes.subarray(0, this.#end), this.#ends.subarray(0, this.#count));
  }

  /** Makes room for `bytes` more. */
  #room(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(2 * (this.#end + bytes));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}

/** Whether the u64 at `at` is below 2^16. */
function isShort(from: Buffer, at: number): boolean {
  for (let i = 2; i < lengthBytes; i++) if (from[at + i] !== 0) return false;
  return true;
}
