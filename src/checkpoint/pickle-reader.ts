/** A bounds-checked cursor over the bytes of a pickle. */

import { PickleRefusal } from './pickle-values.ts';

/** Longest module or class name, in bytes. */
const maxLineBytes = 256;

/** Longest integer, in bytes. The only long one that torch writes, its magic number, has 10. */
const maxIntegerBytes = 64;

export class PickleReader {
  /** Position in bytes of what is read next. */
  position: number;
  readonly #bytes: Buffer;

  constructor(bytes: Uint8Array, position: number) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = position;
  }

  /** Moves past `length` bytes and returns where they began. */
  skip(length: number): number {
    const start = this.position;
    if (length > this.#bytes.length - start) {
      throw new PickleRefusal(
        `damaged pickle: ${length} bytes are needed, but only ${this.#bytes.length - start} are left`,
      );
    }
    this.position = start + length;
    return start;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.skip(1));
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.skip(2));
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.skip(4));
  }

  i32(): number {
    return this.#bytes.readInt32LE(this.skip(4));
  }

  /** A length; beyond 2^53 it is inexact, but longer than any pickle anyway. */
  u64(): number {
    return Number(this.#bytes.readBigUInt64LE(this.skip(8)));
  }

  /** A float; floats are the only big-endian values in a pickle. */
  f64(): number {
    return this.#bytes.readDoubleBE(this.skip(8));
  }

  utf8(length: number): string {
    const start = this.skip(length);
    return this.#bytes.toString('utf8', start, this.position);
  }

  latin1(length: number): string {
    const start = this.skip(length);
    return this.#bytes.toString('latin1', start, this.position);
  }

  /** Text up to a line feed, which is consumed. */
  line(): string {
    const start = this.position;
    const end = this.#bytes.subarray(start, start + maxLineBytes).indexOf(0x0a);
    if (end < 0) throw new PickleRefusal('damaged pickle: a name without an end');
    this.position = start + end + 1;
    return this.#bytes.toString('utf8', start, start + end);
  }

  /** A signed little-endian integer of `length` bytes. */
  integer(length: number): number | bigint {
    if (length > maxIntegerBytes) {
      throw new PickleRefusal(`damaged pickle: an integer of ${length} bytes`);
    }
    const start = this.skip(length);
    if (length === 0) return 0;
    const digits = Buffer.from(this.#bytes.subarray(start, this.position)).reverse();
    const value = BigInt.asIntN(length * 8, BigInt(`0x${digits.toString('hex')}`));
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
}
