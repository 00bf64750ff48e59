/**
 * Random blocks of GGUF's formats, at the speed of the disk: rows are made once, and written repeatedly,
 * each time from a new place. For each format this file defines how to fill a block with values of a given
 * deviation, and how to set its first value.
 */

import type { Random } from '../../src/engine/random.ts';
import { toF16 } from '../checkpoint/halfs.ts';

export interface BlockFormat {
  /** ggml's code. */
  readonly type: number;
  readonly elements: number;
  readonly bytes: number;
  /** Approximately the value that {@link setFirst} writes as large, in deviations. */
  readonly large: number;
  /** Fills a block with values of mean 0 and this deviation. */
  random(block: DataView, deviation: number, random: Random): void;
  /** Fills a block with zeros, but for its first value. */
  single(block: DataView, first: number): void;
  /** Makes the first value of a random block 0, or some deviations. */
  setFirst(block: DataView, to: 'zero' | 'large'): void;
}

const byte = (random: Random) => Math.floor(random.next() * 256);

function setHalf(block: DataView, offset: number, value: number): void {
  block.setUint16(offset, toF16(value), true);
}

/** Uniform integers of 4 bits, from -7.5 to 7.5 if the least value is 7.5 scales below 0. */
const nibbleMiddle = 7.5;
const nibbleDeviation = Math.sqrt((16 ** 2 - 1) / 12);
const largestScale = 63;

/** d, least d, 8 scales and 8 least values of 6 bits in 12 bytes, 256 nibbles. */
const q4K: BlockFormat = {
  type: 12,
  elements: 256,
  bytes: 144,
  large: 2.1,
  random(block, deviation, random) {
    // Scales from half of the largest up to it; least values in proportion, so that the mean is 0.
    const scales = Array.from({ length: 8 }, () => 32 + Math.floor(random.next() * 32));
    const square = scales.reduce((sum, scale) => sum + scale * scale, 0) / scales.length;
    const d = deviation / (Math.sqrt(square) * nibbleDeviation);
    setHalf(block, 0, d);
    setHalf(block, 2, nibbleMiddle * d);
    for (let i = 0; i < 4; i++) {
      const [low = 0, high = 0] = [scales[i], scales[i + 4]];
      block.setUint8(4 + i, low | ((high >> 4) << 6));
      block.setUint8(8 + i, low | ((high >> 4) << 6));
      block.setUint8(12 + i, (high & 15) | ((high & 15) << 4));
    }
    for (let i = 16; i < this.bytes; i++) block.setUint8(i, byte(random));
  },
  single(block, first) {
    for (let i = 0; i < this.bytes; i++) block.setUint8(i, 0);
    setHalf(block, 0, first / (largestScale * 15));
    block.setUint8(4, largestScale);
    block.setUint8(16, 15);
  },
  setFirst(block, to) {
    if (to === 'zero') throw new Error('Q4_K has no 0 between values of both signs');
    for (const at of [4, 8]) block.setUint8(at, (block.getUint8(at) & 0xc0) | largestScale);
    block.setUint8(16, block.getUint8(16) | 15);
  },
};

/** 4 low bits of 256 values, 2 high bits, 16 scales of 8 bits, d. */
const q6K: BlockFormat = {
  type: 14,
  elements: 256,
  bytes: 210,
  large: 2.2,
  random(block, deviation, random) {
    for (let i = 0; i < 192; i++) block.setUint8(i, byte(random));
    let square = 0;
    for (let i = 0; i < 16; i++) {
      const scale = (64 + Math.floor(random.next() * 64)) * (random.next() < 0.5 ? -1 : 1);
      square += (scale * scale) / 16;
      block.setInt8(192 + i, scale);
    }
    // Integers from -32 to 31, whose mean is -1/2.
    const ofIntegers = Math.sqrt((64 ** 2 - 1) / 12 + 0.25);
    setHalf(block, 208, deviation / (Math.sqrt(square) * ofIntegers));
  },
  single(block, first) {
    // All integers 0, stored as 32, but the first.
    for (let i = 0; i < 128; i++) block.setUint8(i, 0);
    for (let i = 128; i < 192; i++) block.setUint8(i, 0b10101010);
    for (let i = 192; i < 208; i++) block.setInt8(i, 127);
    block.setUint8(0, 15);
    block.setUint8(128, 0b10101011);
    setHalf(block, 208, first / (127 * 31));
  },
  setFirst(block, to) {
    const integer = to === 'zero' ? 32 : 63;
    block.setUint8(0, (block.getUint8(0) & 0xf0) | (integer & 15));
    block.setUint8(128, (block.getUint8(128) & 0xfc) | (integer >> 4));
    if (to === 'large') block.setInt8(192, 127);
  },
};

/** d, 32 integers of 8 bits. */
const q8_0: BlockFormat = {
  type: 8,
  elements: 32,
  bytes: 34,
  large: 1.7,
  random(block, deviation, random) {
    setHalf(block, 0, deviation / Math.sqrt((255 ** 2 - 1) / 12));
    for (let i = 2; i < this.bytes; i++) block.setInt8(i, Math.floor(random.next() * 255) - 127);
  },
  single(block, first) {
    for (let i = 2; i < this.bytes; i++) block.setUint8(i, 0);
    setHalf(block, 0, first / 127);
    block.setInt8(2, 127);
  },
  setFirst(block, to) {
    block.setInt8(2, to === 'zero' ? 0 : 127);
  },
};

/** An exponent, and 32 floats of 4 bits: 0, 1/2, 1, 3/2, 2, 3, 4, 6 with a sign. */
const mxfp4: BlockFormat = {
  type: 39,
  elements: 32,
  bytes: 17,
  large: 0,
  random(block, deviation, random) {
    const ofFloats = Math.sqrt((0.25 + 1 + 2.25 + 4 + 9 + 16 + 36) / 8);
    // One of the two powers of 2 around the deviation, chosen so that squares are right on average.
    const exponent = Math.log2(deviation / ofFloats);
    const lower = Math.floor(exponent);
    const share = (4 ** (exponent - lower) - 1) / 3;
    block.setUint8(0, 127 + lower + (random.next() < share ? 1 : 0));
    for (let i = 1; i < this.bytes; i++) block.setUint8(i, byte(random));
  },
  single(block, first) {
    if (first !== 0) throw new Error('only zeros are needed in MXFP4');
    for (let i = 0; i < this.bytes; i++) block.setUint8(i, 0);
  },
  setFirst() {
    throw new Error('not needed in MXFP4');
  },
};

export const blockFormats = { q4_k: q4K, q6_k: q6K, q8_0, mxfp4 } as const;

/** Bytes of a row. */
export function rowBytes(format: BlockFormat, columns: number): number {
  if (columns % format.elements !== 0) throw new Error(`${columns} columns are not whole blocks`);
  return (columns / format.elements) * format.bytes;
}

/** Rows of one kind. */
export interface RowKind {
  readonly format: BlockFormat;
  readonly columns: number;
  readonly deviation: number;
  /** What the row begins with: blocks for the first `lead.columns` columns, zeros but for the first value. */
  readonly lead?: { readonly columns: number; readonly first: number };
  readonly first?: 'zero' | 'large';
}

const poolBytes = 4 * 1024 * 1024;

/** Rows of one kind: a pool of some MiB; each call returns a part of it from another place. */
export class RowPool {
  readonly rowBytes: number;
  readonly #pool: Buffer;
  readonly #rows: number;
  readonly #random: Random;

  constructor({ format, columns, deviation, lead, first }: RowKind, random: Random) {
    this.rowBytes = rowBytes(format, columns);
    this.#rows = Math.ceil(poolBytes / this.rowBytes);
    this.#pool = Buffer.alloc(this.#rows * this.rowBytes);
    this.#random = random;
    const { buffer, byteOffset, length } = this.#pool;
    const blocks = columns / format.elements;
    const leading = lead === undefined ? 0 : lead.columns / format.elements;
    for (let at = 0, index = 0; at < length; at += format.bytes, index++) {
      const block = new DataView(buffer, byteOffset + at, format.bytes);
      const inRow = index % blocks;
      if (inRow < leading) format.single(block, inRow === 0 ? (lead?.first ?? 0) : 0);
      else format.random(block, deviation, random);
      if (inRow === 0 && first !== undefined) format.setFirst(block, first);
    }
  }

  /** This many rows, in parts. */
  *rows(count: number): Generator<Uint8Array> {
    for (let left = count; left > 0; ) {
      const start = Math.floor(this.#random.next() * this.#rows);
      const rows = Math.min(left, this.#rows - start);
      yield this.#pool.subarray(start * this.rowBytes, (start + rows) * this.rowBytes);
      left -= rows;
    }
  }
}

const zeros = new Map<string, Buffer>();

/** This many rows of zeros, in parts. */
export function* zeroRows(format: BlockFormat, columns: number, count: number) {
  const row = rowBytes(format, columns);
  const key = `${format.type} ${columns}`;
  const part = zeros.get(key) ?? Buffer.alloc(Math.ceil(poolBytes / 4 / row) * row);
  if (!zeros.has(key)) {
    for (let at = 0; at < part.length; at += format.bytes) {
      format.single(new DataView(part.buffer, part.byteOffset + at, format.bytes), 0);
    }
    zeros.set(key, part);
  }
  for (let left = count * row; left > 0; left -= part.length) {
    yield part.subarray(0, Math.min(left, part.length));
  }
}
