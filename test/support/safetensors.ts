/** Safetensors files, read and written whole; independent of the readers under test. */

import { readFileSync, writeFileSync } from 'node:fs';

export interface Tensor {
  /** As in the header: `F16`. */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Buffer;
}

export type Tensors = Map<string, Tensor>;

interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** The header of a file, and where the data begins. */
export function safetensorsHeader(file: Buffer): {
  readonly entries: ReadonlyMap<string, HeaderEntry>;
  readonly dataStart: number;
} {
  const dataStart = 8 + Number(file.readBigUInt64LE());
  const { __metadata__: _, ...entries } = JSON.parse(file.toString('utf8', 8, dataStart)) as Record<
    string,
    HeaderEntry
  >;
  return { entries: new Map(Object.entries(entries)), dataStart };
}

export function readSafetensors(path: string): Tensors {
  const file = readFileSync(path);
  const { entries, dataStart } = safetensorsHeader(file);
  const tensors: Tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: range }] of entries) {
    const data = Buffer.from(file.subarray(dataStart + range[0], dataStart + range[1]));
    tensors.set(name, { dtype, shape, data });
  }
  return tensors;
}

export function writeSafetensors(path: string, tensors: ReadonlyMap<string, Tensor>): void {
  writeFileSync(path, Buffer.concat([headerOf(tensors), ...[...tensors.values()].map(dataOf)]));
}

/** The header of a file that holds `tensors` one after the other. */
export function headerOf(
  tensors: ReadonlyMap<
    string,
    { dtype: string; shape: readonly number[]; data: { length: number } }
  >,
): Buffer {
  let end = 0;
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  for (const [name, { dtype, shape, data }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end + data.length] };
    end += data.length;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}

const dataOf = ({ data }: Tensor) => data;
