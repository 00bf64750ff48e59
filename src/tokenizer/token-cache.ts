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

import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import * as v from 'valibot';
import { writeAside } from '../aside.ts';
import { parseJsonText } from '../checkpoint/json-file.ts';
import type { StoredFile } from '../flash/manifest.ts';
import { readRegular } from '../regular-file.ts';
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
  try {
    const bytes = await readRegular(path, longest);
    if (bytes.toString('latin1', 0, 8) !== magic) return null;
    if (crc32(bytes.subarray(12)) !== bytes.readUInt32LE(8)) return null;
    const headBytes = bytes.readUInt32LE(12);
    const text = bytes.toString('utf8', headStart, headStart + headBytes);
    const parsed = v.safeParse(headSchema, parseJsonText(text, path));
    if (!parsed.success) return null;
    const head = parsed.output;
    if (head.crc32 !== tokenizer.crc32 || head.bytes !== tokenizer.bytes) return null;
    let at = headStart + headBytes;
    const take = (length: number) => {
      const part = bytes.subarray(at, at + length);
      if (part.length !== length) throw new RangeError('too short');
      at = alignUp(at + length, 4);
      // A separate copy: the buffer of the file is released, and may have any alignment.
      return Uint8Array.from(part).buffer;
    };
    const units = new Uint16Array(take(2 * head.units));
    const ends = new Uint32Array(take(4 * head.tokens));
    const present = new Uint8Array(take(head.tokens));
    const lists = [0, 0, 0].map(() => new Int32Array(take(4 * head.merges)));
    const [left, right, merged] = lists as [Int32Array, Int32Array, Int32Array];
    if (!ascending(ends, units.length) || !lists.every((ids) => below(ids, head.tokens)))
      return null;
    return {
      json: head.json as unknown as TokenizerJson,
      tables: {
        vocabulary: new Vocabulary({ units, ends, present }),
        merges: new MergeTable({ left, right, merged }),
      },
    };
  } catch {
    return null;
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
