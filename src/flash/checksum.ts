/**
 * CRC-32 per block. A block is the smallest unit that is read: one bundle, or the smallest whole number of
 * matrix rows that reaches 32 KiB. Every read can thus be checked by itself, and no bytes are read only for
 * checking.
 *
 * zlib's crc32 runs at 5 to 6 GB/s on data in the processor's cache and at 2 GB/s on other data, as it waits
 * for each cache line: `crcOf` first fetches lines from several places at once, and reaches 4 GB/s.
 */

import { crc32 } from 'node:zlib';

/** Block size aimed at for matrices, in bytes: the smallest efficient flash read. */
const targetBlockBytes = 32 * 1024;

/** Rows of `rowBytes` that make one block. */
export function rowsPerBlock(rowBytes: number): number {
  return Math.max(1, Math.ceil(targetBlockBytes / rowBytes));
}

/** Bytes fetched before they are summed: they fit the second-level cache of every processor. */
const fetchedBytes = 64 * 1024;
const lineBytes = 64;

/**
 * The CRC-32 of `data`.
 * @param sum the CRC-32 of the data before it
 */
export function crcOf(data: Uint8Array, sum = 0): number {
  let crc = sum;
  for (let at = 0; at < data.length; at += fetchedBytes) {
    const part = data.subarray(at, at + fetchedBytes);
    // Bytes never add up to less than 0; the comparison keeps the compiler from removing the reads.
    if (sumOfLines(part) >= 0) crc = crc32(part, crc);
  }
  return crc;
}

/** Reads a byte of each line, in eight places at a time: the processor waits for all of them at once. */
function sumOfLines(data: Uint8Array): number {
  const step = data.length >> 3;
  let sum = 0;
  for (let at = 0; at < step; at += lineBytes) {
    for (let place = at; place < data.length; place += step) sum += data[place] as number;
  }
  return sum;
}

/** Computes the checksums of a tensor whose bytes arrive in order, in parts of any size. */
export class BlockChecksums {
  readonly #blockBytes: number;
  readonly #sums: number[] = [];
  #current = 0;
  #filled = 0;

  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
  }

  add(data: Uint8Array): void {
    let at = 0;
    while (at < data.length) {
      const end = Math.min(data.length, at + this.#blockBytes - this.#filled);
      this.#current = crcOf(data.subarray(at, end), this.#current);
      this.#filled += end - at;
      at = end;
      if (this.#filled === this.#blockBytes) this.#close();
    }
  }

  /** The checksums of all blocks; the last may be shorter. */
  finish(): Uint32Array {
    if (this.#filled > 0) this.#close();
    return Uint32Array.from(this.#sums);
  }

  #close(): void {
    this.#sums.push(this.#current);
    this.#current = 0;
    this.#filled = 0;
  }
}

/** Eight hexadecimal digits of the CRC-32 of `data`. */
export function crcHex(data: Uint8Array | string): string {
  return hex(crc32(data));
}

/** A CRC-32 in the form in which files store it. */
export function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0');
}

/** Checksums, or other words, as text: base64 of 32-bit little-endian words. */
export function encodeWords(words: Uint32Array): string {
  const bytes = Buffer.alloc(words.length * 4);
  words.forEach((word, index) => {
    bytes.writeUInt32LE(word, index * 4);
  });
  return bytes.toString('base64');
}

export function decodeWords(text: string): Uint32Array {
  const bytes = Buffer.from(text, 'base64');
  return Uint32Array.from({ length: bytes.length >> 2 }, (_, index) =>
    bytes.readUInt32LE(index * 4),
  );
}
