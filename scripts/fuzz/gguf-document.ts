/** Parses GGUF files so that every part can be corrupted; test/support/gguf.ts puts them together again. */

import { ggmlTypes } from '../../src/checkpoint/gguf/ggml-types.ts';
import type { GgufTensorParts } from '../../test/support/gguf.ts';

export interface GgufDocument {
  readonly metadata: [key: string, value: Buffer][];
  readonly tensors: GgufTensorParts[];
  /** Positions of the header's numbers: lengths, counts, codes, sizes. */
  readonly fields: readonly GgufField[];
}

export interface GgufField {
  readonly what: string;
  readonly at: number;
  readonly width: 4 | 8;
}

/** Bytes of a value by its type's code; strings and arrays have no fixed size. */
const widths: ReadonlyMap<number, number> = new Map([
  ...[0, 1, 7].map((code) => [code, 1] as const),
  ...[2, 3].map((code) => [code, 2] as const),
  ...[4, 5, 6].map((code) => [code, 4] as const),
  ...[10, 11, 12].map((code) => [code, 8] as const),
]);
export const textCode = 8;
export const arrayCode = 9;

const defaultAlignment = 32;

/** @throws RangeError if the file is not a complete GGUF */
export function parseGguf(file: Buffer): GgufDocument {
  const fields: GgufField[] = [];
  let at = 4;
  const number = (what: string, width: 4 | 8): number => {
    fields.push({ what, at, width });
    const value = width === 4 ? file.readUInt32LE(at) : Number(file.readBigUInt64LE(at));
    at += width;
    return value;
  };
  const text = (what: string): string => {
    const length = number(`length of ${what}`, 8);
    at += length;
    if (at > file.length) throw new RangeError('the text is longer than the file');
    return file.toString('utf8', at - length, at);
  };
  const value = (code: number, key: string): void => {
    if (code === textCode) {
      text(key);
    } else if (code === arrayCode) {
      const inner = number(`element type of ${key}`, 4);
      const count = number(`elements of ${key}`, 8);
      const width = widths.get(inner);
      if (width !== undefined) at += count * width;
      else for (let i = 0; i < count; i++) value(inner, key);
    } else {
      const width = widths.get(code);
      if (width === undefined) throw new RangeError(`no type ${code}`);
      if (width >= 4) fields.push({ what: key, at, width: width === 4 ? 4 : 8 });
      at += width;
    }
  };
  number('version', 4);
  const tensorCount = number('tensors', 8);
  const keyCount = number('keys', 8);
  const metadata: [string, Buffer][] = [];
  for (let i = 0; i < keyCount; i++) {
    const key = text('a key');
    const start = at;
    value(number(`type of ${key}`, 4), key);
    metadata.push([key, file.subarray(start, at)]);
  }
  const entries = Array.from({ length: tensorCount }, () => {
    const name = text('a name');
    const dimensions = number(`dimensions of ${name}`, 4);
    const sizes = Array.from({ length: dimensions }, () => number(`a size of ${name}`, 8));
    return {
      name,
      sizes,
      type: number(`type of ${name}`, 4),
      offset: number(`offset of ${name}`, 8),
    };
  });
  const dataStart = Math.ceil(at / defaultAlignment) * defaultAlignment;
  const tensors = entries.map(({ name, sizes, type, offset }) => {
    const { blockElements = 1, blockBytes = 4 } = ggmlTypes.get(type) ?? {};
    const bytes = (sizes.reduce((product, size) => product * size, 1) / blockElements) * blockBytes;
    const data = file.subarray(dataStart + offset, dataStart + offset + bytes);
    return { name, sizes, type, data };
  });
  return { metadata, tensors, fields };
}

/** The strings of an array of strings; null if the value is something else. */
export function textsOf(value: Buffer): string[] | null {
  if (value.readUInt32LE() !== arrayCode || value.readUInt32LE(4) !== textCode) return null;
  let at = 16;
  return Array.from({ length: Number(value.readBigUInt64LE(8)) }, () => {
    const length = Number(value.readBigUInt64LE(at));
    at += 8 + length;
    return value.toString('utf8', at - length, at);
  });
}
