/**
 * The header of a safetensors file, read as if it were hostile. Our own model directory uses the
 * same format, so this file also opens our own weight files.
 *
 *     byte 0    header length n, u64 little-endian
 *     byte 8    n bytes of JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ...}
 *     byte 8+n  the data; offsets count from here
 */

import { type ErrorPlace, InputError } from '../errors.ts';
import type { RangeFile } from './file.ts';
import { brief, findDuplicateKey, isJsonObject, parseJson } from './json-file.ts';
import { elementCount, isCount, maxDimensions } from './shape.ts';
import type { SourceDType } from './source.ts';
import { dtypeOfSafetensors, sourceDTypes, unreadSafetensors } from './source-dtype.ts';
import { checkTensorName } from './tensor-name.ts';

/** Longest header accepted, in bytes: the limit of the reference implementation. */
export const maxHeaderBytes = 100_000_000;

/** Bytes of the length in front of the header. */
const lengthBytes = 8;

export interface SafetensorsEntry {
  readonly name: string;
  /** `other` for unsupported types. */
  readonly dtype: SourceDType | 'other';
  /** As the header writes the type: `F16`. */
  readonly storedAs: string;
  readonly shape: readonly number[];
  /** Product of the shape. */
  readonly elements: number;
  /** Where the data begins, in bytes from the start of the file. */
  readonly offset: number;
  /** Length of the data in bytes: elements x element size. */
  readonly bytes: number;
}

export interface SafetensorsHeader {
  /** In the order of the header. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  /** The strings under `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Where the data section begins, in bytes from the start of the file. */
  readonly dataStart: number;
}

/** The form of a dtype's name, whether known or not. */
const plainDType = /^\w{1,32}$/;

const redownload = 'Download the file again';

/**
 * Reads and checks the header: when it returns, every tensor lies inside the file and is as long as
 * its shape says.
 * @throws InputError that names the file and, where there is one, the tensor.
 */
export async function readSafetensorsHeader(file: RangeFile): Promise<SafetensorsHeader> {
  const place = { file: file.path };
  if (file.size < lengthBytes) {
    throw new InputError(`${file.size} bytes are too few for safetensors`, place, redownload);
  }
  const prefix = Buffer.alloc(lengthBytes);
  await file.read(0, prefix);
  const headerBytes = Number(prefix.readBigUInt64LE());
  if (headerBytes > maxHeaderBytes) {
    throw new InputError(
      `is not safetensors: it claims a header of ${headerBytes} bytes (at most ${maxHeaderBytes})`,
      place,
    );
  }
  const dataStart = lengthBytes + headerBytes;
  if (dataStart > file.size) {
    throw new InputError(
      `truncated: the header alone needs ${dataStart} bytes, but the file has ${file.size}`,
      place,
      redownload,
    );
  }
  const bytes = Buffer.alloc(headerBytes);
  await file.read(lengthBytes, bytes);
  return parseSafetensorsHeader(bytes, file);
}

/**
 * The header whose JSON is `bytes`, without the length in front of it; checked as
 * {@link readSafetensorsHeader} does.
 */
export function parseSafetensorsHeader(
  bytes: Buffer,
  file: Pick<RangeFile, 'path' | 'size'>,
): SafetensorsHeader {
  const dataStart = lengthBytes + bytes.length;
  const place = { file: file.path };
  const header = parseJson(bytes, file.path, lengthBytes);
  if (!isJsonObject(header)) throw new InputError('the header is not a JSON object', place);
  const twice = findDuplicateKey(bytes.toString());
  if (twice !== undefined) {
    throw new InputError(`the header holds the key ${brief(twice)} twice`, place);
  }

  const tensors = new Map<string, SafetensorsEntry>();
  let metadata: ReadonlyMap<string, string> = new Map();
  let fileEnd = dataStart;
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      metadata = parseMetadata(value, place);
      continue;
    }
    checkTensorName(name, file.path);
    const entry = parseEntry(name, value, { ...place, tensor: name }, dataStart);
    fileEnd = Math.max(fileEnd, entry.offset + entry.bytes);
    tensors.set(name, entry);
  }
  if (fileEnd > file.size) {
    const first = [...tensors.values()].find((entry) => entry.offset + entry.bytes > file.size);
    throw new InputError(
      `truncated: the header describes ${fileEnd} bytes, but the file has ${file.size}`,
      first === undefined ? place : { ...place, tensor: first.name },
      redownload,
    );
  }
  if (fileEnd < file.size) {
    throw new InputError(
      `damaged: the header describes ${fileEnd} bytes, but the file has ${file.size}`,
      place,
      redownload,
    );
  }
  return { tensors, metadata, dataStart };
}

function parseMetadata(value: unknown, place: ErrorPlace): ReadonlyMap<string, string> {
  if (value === null) return new Map();
  const pairs = isJsonObject(value) ? Object.entries(value) : undefined;
  const isText = (pair: [string, unknown]): pair is [string, string] => typeof pair[1] === 'string';
  if (!pairs?.every(isText)) {
    throw new InputError('__metadata__ in the header is not an object of strings', place);
  }
  return new Map(pairs);
}

function parseEntry(
  name: string,
  value: unknown,
  place: ErrorPlace,
  dataStart: number,
): SafetensorsEntry {
  if (!isJsonObject(value)) throw new InputError('its header entry is not an object', place);
  const { dtype: dtypeName, shape, data_offsets: range } = value;

  if (typeof dtypeName !== 'string' || !plainDType.test(dtypeName)) {
    throw new InputError(`its dtype ${brief(dtypeName)} is not the name of a dtype`, place);
  }
  const dtype = dtypeOfSafetensors.get(dtypeName);
  if (!isCounts(shape) || shape.length > maxDimensions) {
    throw new InputError(`its shape ${brief(shape)} is not a list of sizes`, place);
  }
  if (!isCounts(range) || range.length !== 2) {
    throw new InputError(`its data_offsets ${brief(range)} are not [begin, end]`, place);
  }
  const [begin, end] = range as readonly [number, number];
  const elements = elementCount(shape);
  const elementBytes =
    dtype === undefined ? unreadSafetensors.get(dtypeName) : sourceDTypes[dtype].bytes;
  // For an unknown type, the header's range cannot be checked against the shape.
  const needed =
    elementBytes === undefined
      ? Math.max(0, end - begin)
      : elementBytes * (elements ?? Number.POSITIVE_INFINITY);
  if (elements === undefined || end - begin !== Math.ceil(needed)) {
    throw new InputError(
      `its data_offsets span ${end - begin} bytes, but ${dtypeName} ${brief(shape)} needs ${needed}`,
      place,
    );
  }
  return {
    name,
    dtype: dtype ?? 'other',
    storedAs: dtypeName,
    shape,
    elements,
    offset: dataStart + begin,
    bytes: end - begin,
  };
}

function isCounts(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every(isCount);
}
