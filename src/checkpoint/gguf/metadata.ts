/** The metadata of a GGUF file: named values. Every count and length is checked against a limit. */

import { type ErrorPlace, InputError } from '../../errors.ts';
import { TextList } from '../../text-list.ts';
import { brief } from '../json-file.ts';
import type { HeaderCursor } from './cursor.ts';

/** One value. Arrays of numbers and booleans are arrays of numbers. */
export type GgufValue =
  | string
  | number
  | boolean
  | bigint
  | TextList
  | readonly number[]
  | Float32Array
  | Int32Array;

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** Most keys; real files have fewer than a hundred. */
const maxKeys = 16_384;
/** Longest key, in bytes: what the format allows. */
const maxKeyBytes = 65_535;
/** Longest text, in bytes. Whole tokenizer.json files of 35 MB occur. */
const maxTextBytes = 64 * 2 ** 20;
/** Most elements of an array. The largest vocabularies have 260,000 tokens, 560,000 merges. */
const maxArrayElements = 4 * 2 ** 20;

interface Scalar {
  readonly name: string;
  readonly bytes: number;
  readonly read: (cursor: HeaderCursor) => number | boolean | bigint;
}

/** A 64-bit integer becomes a number if a number can hold it exactly. */
function integer(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

const scalars: ReadonlyMap<number, Scalar> = new Map([
  [0, { name: 'u8', bytes: 1, read: (cursor: HeaderCursor) => cursor.u8() }],
  [1, { name: 'i8', bytes: 1, read: (cursor: HeaderCursor) => cursor.i8() }],
  [2, { name: 'u16', bytes: 2, read: (cursor: HeaderCursor) => cursor.u16() }],
  [3, { name: 'i16', bytes: 2, read: (cursor: HeaderCursor) => cursor.i16() }],
  [4, { name: 'u32', bytes: 4, read: (cursor: HeaderCursor) => cursor.u32() }],
  [5, { name: 'i32', bytes: 4, read: (cursor: HeaderCursor) => cursor.i32() }],
  [6, { name: 'f32', bytes: 4, read: (cursor: HeaderCursor) => cursor.f32() }],
  [7, { name: 'bool', bytes: 1, read: (cursor: HeaderCursor) => cursor.u8() !== 0 }],
  [10, { name: 'u64', bytes: 8, read: (cursor: HeaderCursor) => integer(cursor.u64()) }],
  [11, { name: 'i64', bytes: 8, read: (cursor: HeaderCursor) => integer(cursor.i64()) }],
  [12, { name: 'f64', bytes: 8, read: (cursor: HeaderCursor) => cursor.f64() }],
]);
const textCode = 8;
const arrayCode = 9;

/**
 * Reads `count` keys with their values.
 * @throws InputError when a length is beyond its limit, a type unknown, or a key occurs twice
 */
export async function readMetadata(
  cursor: HeaderCursor,
  count: bigint,
  file: string,
): Promise<GgufMetadata> {
  if (count > maxKeys) {
    throw new InputError(`claims ${count} metadata keys (at most ${maxKeys})`, {
      file,
      offset: 16,
    });
  }
  const values = new Map<string, GgufValue>();
  for (let index = 0; index < count; index++) {
    const place = { file, offset: cursor.offset };
    const key = await readText(cursor, maxKeyBytes, `metadata key ${index}`, file);
    if (values.has(key)) {
      throw new InputError(`the metadata holds the key ${brief(key)} twice`, place);
    }
    await cursor.need(4, `the type of ${brief(key)}`);
    values.set(key, await readValue(cursor, cursor.u32(), key, file));
  }
  return values;
}

/**
 * Reads a text that its length precedes.
 * @throws InputError when it is longer than `limit` bytes
 */
export async function readText(
  cursor: HeaderCursor,
  limit: number,
  what: string,
  file: string,
): Promise<string> {
  return cursor.text(await textBytes(cursor, limit, what, file));
}

/** Makes a text readable that its length precedes. @returns its bytes */
async function textBytes(
  cursor: HeaderCursor,
  limit: number,
  what: string,
  file: string,
): Promise<number> {
  const place = { file, offset: cursor.offset };
  await cursor.need(8, what);
  const bytes = cursor.length();
  if (bytes > limit) {
    throw new InputError(`${what} claims ${bytes} bytes (at most ${limit})`, place);
  }
  await cursor.need(bytes, what);
  return bytes;
}

async function readValue(
  cursor: HeaderCursor,
  code: number,
  key: string,
  file: string,
): Promise<GgufValue> {
  const what = `the value of ${brief(key)}`;
  if (code === textCode) return readText(cursor, maxTextBytes, what, file);
  if (code === arrayCode) return readArray(cursor, what, file);
  const scalar = scalarOf(code, what, { file, offset: cursor.offset });
  await cursor.need(scalar.bytes, what);
  return scalar.read(cursor);
}

function scalarOf(code: number, what: string, place: ErrorPlace): Scalar {
  const scalar = scalars.get(code);
  if (scalar !== undefined) return scalar;
  throw new InputError(`${what} has the unknown type ${code}`, place);
}

async function readArray(cursor: HeaderCursor, what: string, file: string): Promise<GgufValue> {
  const place = { file, offset: cursor.offset };
  await cursor.need(12, what);
  const code = cursor.u32();
  const length = cursor.u64();
  if (length > maxArrayElements) {
    throw new InputError(`${what} claims ${length} elements (at most ${maxArrayElements})`, place);
  }
  const count = Number(length);
  if (code === textCode) {
    return TextList.fill(count, async (list) => {
      while (list.missing > 0) {
        cursor.copyTexts(list);
        // What reaches beyond the window, or is unusually long.
        if (list.missing > 0) {
          cursor.copyText(await textBytes(cursor, maxTextBytes, what, file), list);
        }
      }
    });
  }
  if (code === arrayCode) throw new InputError(`${what} is an array of arrays`, place);
  const scalar = scalarOf(code, what, place);
  await cursor.need(count * scalar.bytes, what);
  // Scores and types of a vocabulary are a quarter of a million numbers: avoid boxing them.
  if (code === 6) return new Float32Array(cursor.copyBytes(4 * count));
  if (code === 5) return new Int32Array(cursor.copyBytes(4 * count));
  return Array.from({ length: count }, () => Number(scalar.read(cursor)));
}
