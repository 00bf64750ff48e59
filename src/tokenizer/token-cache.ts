/**
 * Stores a model's tokenizer in its final form in a file beside tokenizer.json. For 150,000 tokens, parsing
 * tokenizer.json takes a second and 100 MB; loading these arrays takes 30 ms and 12 MB. The file is created
 * from tokenizer.json if it is missing. It contains the checksum of tokenizer.json, and is ignored if it is
 * damaged.
 *
 *     | "flashtok" | crc32 of the rest, u32 | head bytes, u32 | head: JSON, spaces | arrays |
 *
 * The head holds the rest of tokenizer.json, and the lengths of the arrays, which are stored one after the
 * other at multiples of four: units, ends, present, left, right, merged (see Vocabulary and MergeTable).
 */

import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import * as v from 'valibot';
import { writeAside } from '../aside.ts';
import { parseJsonText } from '../checkpoint/json-file.ts';
import type { StoredFile } from '../flash/manifest.ts';
import { openRegular, readInto } from '../regular-file.ts';
import { alignUp } from '../units.ts';
import type { BpeTables } from './pipeline/bpe.ts';
import { MergeTable } from './pipeline/merge-table.ts';
import { Vocabulary } from './pipeline/vocabulary.ts';
import { tokenCacheFile } from './token-files.ts';
import type { TokenizerJson } from './tokenizer-json.ts';

const magic = 'flashtok';
const version = 1;
const headStart = 16;
/** More than any tokenizer needs. */
const longest = 256 * 1024 * 1024;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(2 ** 26));
const headSchema = v.object({
  version: v.literal(version),
  /** Checksum of tokenizer.json. */
  crc32: v.string(),
  bytes: count,
  units: count,
  tokens: count,
  merges: count,
  /** tokenizer.json without vocabulary and merges, checked. */
  json: v.looseObject({ model: v.looseObject({ type: v.literal('BPE') }) }),
});

/** A tokenizer.json without its large parts, and these parts. */
export interface CachedTokenizer {
  readonly json: TokenizerJson;
  readonly tables: BpeTables;
}

/** The cached tokenizer of a model directory; null if there is none that matches tokenizer.json. */
export async function readTokenCache(
  dir: string,
  tokenizer: StoredFile,
): Promise<CachedTokenizer | null> {
  const path = join(dir, tokenCacheFile);
  const file = await openRegular(path).catch(() => null);
  if (file === null) return null;
  try {
    return await readTables(new CacheReader(file), path, tokenizer);
  } catch {
    return null;
  } finally {
    await file.close();
  }
}

async function readTables(
  reader: CacheReader,
  path: string,
  tokenizer: StoredFile,
): Promise<CachedTokenizer | null> {
  const size = await reader.size();
  const first = Buffer.from(await reader.take(12));
  if (size > longest || first.toString('latin1', 0, 8) !== magic) return null;
  reader.crc = 0; // the checksum is that of the rest
  const headBytes = new DataView(await reader.take(4)).getUint32(0, true);
  if (headBytes > size) return null;
  const text = Buffer.from(await reader.take(headBytes)).toString('utf8');
  const parsed = v.safeParse(headSchema, parseJsonText(text, path));
  if (!parsed.success) return null;
  const head = parsed.output;
  if (head.crc32 !== tokenizer.crc32 || head.bytes !== tokenizer.bytes) return null;
  const { units: unitCount, tokens, merges } = head;
  const lengths = [2 * unitCount, 4 * tokens, tokens, 4 * merges, 4 * merges, 4 * merges];
  const total = lengths.reduce((sum, bytes) => sum + alignUp(bytes, 4), headStart + headBytes);
  if (total !== size) return null;
  // Each array is read into its own memory: a buffer of the whole file would take as much again.
  const take = (bytes: number) => reader.take(alignUp(bytes, 4));
  const units = new Uint16Array(await take(2 * unitCount), 0, unitCount);
  const ends = new Uint32Array(await take(4 * tokens));
  const present = new Uint8Array(await take(tokens), 0, tokens);
  const left = new Int32Array(await take(4 * merges));
  const right = new Int32Array(await take(4 * merges));
  const merged = new Int32Array(await take(4 * merges));
  if (reader.crc !== first.readUInt32LE(8)) return null;
  const known = [left, right, merged].every((ids) => below(ids, tokens));
  if (!ascending(ends, unitCount) || !known) return null;
  return {
    json: head.json as unknown as TokenizerJson,
    tables: {
      vocabulary: new Vocabulary({ units, ends, present }),
      merges: new MergeTable({ left, right, merged }),
    },
  };
}

/** Reads a file part by part, and sums up their checksum. */
class CacheReader {
  crc = 0;
  readonly #file: FileHandle;
  #at = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async size(): Promise<number> {
    return (await this.#file.stat()).size;
  }

  /** @throws RangeError when the file ends before */
  async take(length: number): Promise<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    if ((await readInto(bytes, this.#file, this.#at)) !== length) throw new RangeError('too short');
    this.#at += length;
    this.crc = crc32(bytes, this.crc);
    return bytes.buffer;
  }
}

/** Stores a tokenizer for the next start; a directory that cannot be written to is not an error. */
export async function writeTokenCache(
  dir: string,
  tokenizer: StoredFile,
  kept: CachedTokenizer,
): Promise<void> {
  const content = tokenCacheBytes(tokenizer, kept);
  await writeAside(join(dir, tokenCacheFile), (out) => out.writeFile(content)).catch(() => {});
}

/**
 * The content of the file for a tokenizer.
 * @param tokenizer its tokenizer.json
 */
export function tokenCacheBytes(
  tokenizer: StoredFile,
  { json, tables }: CachedTokenizer,
): Uint8Array {
  const { vocabulary, merges } = tables;
  const { units, ends, present } = vocabulary.arrays;
  const head = Buffer.from(
    JSON.stringify({
      version,
      crc32: tokenizer.crc32,
      bytes: tokenizer.bytes,
      units: units.length,
      tokens: ends.length,
      merges: merges.left.length,
      json,
    }),
  );
  const headBytes = alignUp(head.length, 4);
  const parts = [units, ends, present, merges.left, merges.right, merges.merged].map(asBytes);
  const total = parts.reduce((sum, { length }) => sum + alignUp(length, 4), headStart + headBytes);
  const file = Buffer.alloc(total);
  file.write(magic, 'latin1');
  file.writeUInt32LE(headBytes, 12);
  file.fill(' ', headStart, headStart + headBytes);
  head.copy(file, headStart);
  let at = headStart + headBytes;
  for (const part of parts) {
    file.set(part, at);
    at += alignUp(part.length, 4);
  }
  file.writeUInt32LE(crc32(file.subarray(12)), 8);
  return file;
}

function asBytes({ buffer, byteOffset, byteLength }: NodeJS.TypedArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function ascending(ends: Uint32Array, most: number): boolean {
  let last = 0;
  for (const end of ends) {
    if (end < last || end > most) return false;
    last = end;
  }
  return true;
}

function below(ids: Int32Array, size: number): boolean {
  for (const id of ids) if (id < 0 || id >= size) return false;
  return true;
}
