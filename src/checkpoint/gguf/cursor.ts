/** Walks through the header of a file of unknown length, reading it window by window. */

import { InputError } from '../../errors.ts';
import type { TextListBuilder } from '../../text-list.ts';
import type { RangeFile } from '../file.ts';

/** Bytes read at once: more than most values need, and little compared with the process. */
const windowBytes = 256 * 1024;

/** Longest header: forty times that of the largest vocabulary. */
const maxHeaderBytes = 512 * 2 ** 20;

const redownload = 'Download the file again';

export class HeaderCursor {
  readonly #file: RangeFile;
  #window: Buffer = Buffer.alloc(0);
  /** Where the window begins in the file. */
  #start = 0;
  /** The next byte, counted from the window's beginning. */
  #at = 0;

  constructor(file: RangeFile) {
    this.#file = file;
  }

  /** Offset of the next byte in the file. */
  get offset(): number {
    return this.#start + this.#at;
  }

  /** Whether `bytes` can be read without {@link need}. */
  has(bytes: number): boolean {
    return this.#window.length - this.#at >= bytes;
  }

  /**
   * Makes the next `bytes` readable.
   * @param what is being read, for the message
   * @throws InputError when the file ends too early, or the header exceeds its limit
   */
  async need(bytes: number, what: string): Promise<void> {
    if (this.has(bytes)) return;
    const { offset } = this;
    if (offset + bytes > maxHeaderBytes) {
      throw new InputError(
        `${what} ends beyond the ${maxHeaderBytes} bytes that a header may have`,
        {
          file: this.#file.path,
          offset,
        },
      );
    }
    if (offset + bytes > this.#file.size) {
      throw new InputError(
        `truncated: ${what} needs bytes ${offset} to ${offset + bytes}, but the file has ${this.#file.size} bytes`,
        { file: this.#file.path, offset },
        redownload,
      );
    }
    const length = Math.min(Math.max(bytes, windowBytes), this.#file.size - offset);
    const window = Buffer.allocUnsafe(length);
    await this.#file.read(offset, window);
    this.#window = window;
    this.#start = offset;
    this.#at = 0;
  }

  u8(): number {
    return this.#window.readUInt8(this.#advance(1));
  }

  i8(): number {
    return this.#window.readInt8(this.#advance(1));
  }

  u16(): number {
    return this.#window.readUInt16LE(this.#advance(2));
  }

  i16(): number {
    return this.#window.readInt16LE(this.#advance(2));
  }

  u32(): number {
    return this.#window.readUInt32LE(this.#advance(4));
  }

  i32(): number {
    return this.#window.readInt32LE(this.#advance(4));
  }

  u64(): bigint {
    return this.#window.readBigUInt64LE(this.#advance(8));
  }

  /** A u64 that must be small; exact up to 2^53. */
  length(): number {
    const low = this.u32();
    return low + this.u32() * 2 ** 32;
  }

  i64(): bigint {
    return this.#window.readBigInt64LE(this.#advance(8));
  }

  f32(): number {
    return this.#window.readFloatLE(this.#advance(4));
  }

  f64(): number {
    return this.#window.readDoubleLE(this.#advance(8));
  }

  /** The next `bytes` as UTF-8. Invalid bytes become U+FFFD. */
  text(bytes: number): string {
    const at = this.#advance(bytes);
    return this.#window.toString('utf8', at, at + bytes);
  }

  /** Adds the next `bytes`, a text, to `list`. */
  copyText(bytes: number, list: TextListBuilder): void {
    const at = this.#advance(bytes);
    list.add(this.#window, at, at + bytes);
  }

  /** The next `bytes`. */
  copyBytes(bytes: number): ArrayBuffer {
    const at = this.#advance(bytes);
    return Uint8Array.from(this.#window.subarray(at, at + bytes)).buffer;
  }

  /** Adds the texts that can be read without {@link need}, each after its length, to `list`. */
  copyTexts(list: TextListBuilder): void {
    this.#at = list.addPrefixed(this.#window, this.#at);
  }

  #advance(bytes: number): number {
    const at = this.#at;
    this.#at += bytes;
    return at;
  }
}
