/**
 * Texts of a file in one buffer, one after the other: 300,000 strings would cost 400 ms of garbage
 * collection, and most are only ever looked up.
 */

export class TextList implements Iterable<string> {
  /** UTF-8, text after text. */
  readonly bytes: Buffer;
  /** Shape (length): where each text ends in `bytes`. */
  readonly ends: Uint32Array;

  private constructor(bytes: Buffer, ends: Uint32Array) {
    this.bytes = bytes;
    this.ends = ends;
  }

  static of(texts: Iterable<string>): TextList {
    const parts = Array.from(texts, (text) => Buffer.from(text));
    const list = new TextListBuilder(parts.length);
    for (const part of parts) list.add(part, 0, part.length);
    return list.finish((bytes, ends) => new TextList(bytes, ends));
  }

  /** A list of `count` texts, which `fill` adds in order. */
  static async fill(
    count: number,
    fill: (list: TextListBuilder) => Promise<void>,
  ): Promise<TextList> {
    const list = new TextListBuilder(count);
    await fill(list);
    return list.finish((bytes, ends) => new TextList(bytes, ends));
  }

  get length(): number {
    return this.ends.length;
  }

  /** Where text `index` begins in `bytes`. */
  start(index: number): number {
    return index === 0 ? 0 : (this.ends[index - 1] as number);
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
    if (this.#end + length > this.#bytes.length) this.#grow(this.#end + length);
    from.copy(this.#bytes, this.#end, start, end);
    this.#end += length;
    this.#ends[this.#count++] = this.#end;
  }

  finish<T>(make: (bytes: Buffer, ends: Uint32Array) => T): T {
    return make(this.#bytes.subarray(0, this.#end), this.#ends.subarray(0, this.#count));
  }

  #grow(bytes: number): void {
    const larger = Buffer.allocUnsafe(2 * bytes);
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}
