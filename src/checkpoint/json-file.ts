/** Small JSON files of a checkpoint: configuration and shard indexes. */

import { InputError } from '../errors.ts';
import { endOfString, parseNonFiniteJson, toJson } from '../json.ts';
import { jsonExcess } from '../json-limits.ts';
import { shown } from '../plain-text.ts';
import { CheckpointFile } from './file.ts';

/** Largest JSON file that is read, in bytes. The longest tokenizer.json known has about 35 MB. */
const maxJsonBytes = 128 * 2 ** 20;

/** The error for JSON that is too deep or too large to be parsed, as opposed to invalid JSON. */
export class JsonExcessError extends InputError {}

/**
 * Parses the UTF-8 text in `bytes` that was read from `path`, starting at byte `base` of it. A byte order
 * mark is skipped, and numbers may be NaN or infinite, as Python writes them.
 * @throws InputError with the position of the mistake, or the text around it.
 */
export function parseJson(bytes: Uint8Array, path: string, base = 0): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new InputError('is not UTF-8 text', { file: path, offset: base });
  }
  return parseJsonText(text, path, base);
}

/** The same for text that is decoded already. */
export function parseJsonText(text: string, path: string, base = 0): unknown {
  const excess = jsonExcess(text);
  if (excess !== null) {
    const offset = base + Buffer.byteLength(text.slice(0, excess.at));
    throw new JsonExcessError(excess.what, { file: path, offset });
  }
  try {
    return parseNonFiniteJson(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // For some mistakes V8 gives the position in UTF-16 units; for others it quotes the text around them.
    const told = /at position (\d+)/.exec(reason)?.[1];
    const position = told ?? (reason.includes('end of JSON') ? text.length : undefined);
    const place =
      position === undefined
        ? { file: path }
        : { file: path, offset: base + Buffer.byteLength(text.slice(0, Number(position))) };
    const what = reason
      .replace(/\s+/g, ' ')
      .replace(/( in JSON)? at position.*$| is not valid JSON$/, '');
    throw new InputError(`is not valid JSON: ${printable(what)}`, place);
  }
}

/**
 * The parsed content of a JSON file.
 * @throws InputError when it is missing, too large, a git-LFS pointer, or not JSON.
 */
export async function readJsonFile(path: string): Promise<unknown> {
  const file = await CheckpointFile.open(path);
  try {
    if (file.size > maxJsonBytes) {
      throw new InputError(
        `${file.size} bytes are too many for a JSON file (at most ${maxJsonBytes})`,
        { file: path },
      );
    }
    const bytes = new Uint8Array(file.size);
    await file.read(0, bytes);
    return parseJson(bytes, path);
  } finally {
    await file.close();
  }
}

/** Whether a value is a JSON object. */
export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * A key that occurs twice in one object of `text`, which must be valid JSON. `JSON.parse` silently
 * keeps the last one; in a file with the offsets of weights, that would hide damage.
 */
export function findDuplicateKey(text: string): string | undefined {
  // Walked by hand: a regular expression could exhaust its stack on a long hostile string.
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '{') open.push(new Set());
    else if (char === '}') open.pop();
    if (char !== '"') continue;
    const end = endOfString(text, at);
    if (colonFollows(text, end)) {
      // Escapes are undone, so that "a" and "\u0061" are the same key.
      const key = JSON.parse(text.slice(at, end)) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
    at = end - 1;
  }
  return undefined;
}

function colonFollows(text: string, start: number): boolean {
  let at = start;
  while (at < text.length && ' \t\r\n'.includes(text[at] as string)) at++;
  return text[at] === ':';
}

/** Text from a file without characters that a terminal would interpret. */
export function printable(text: string): string {
  return shown(text, longestText);
}

const longestText = 200;
/** The most characters of a value in a message, and the limit for its parts. */
const longestBrief = 80;
const mostItems = longestBrief / 2;
const mostParts = 200;

/** A value from a file as it may appear in a message: JSON, cut short. */
export function brief(value: unknown): string {
  // A value may be as large as its file: serialise little more of it than is shown.
  let parts = 0;
  const text = toJson(value, (part) => {
    if (parts++ > mostParts) return undefined;
    if (typeof part === 'string') return part.slice(0, longestBrief);
    if (Array.isArray(part)) return part.slice(0, mostItems);
    if (isJsonObject(part)) return firstKeys(part);
    return part;
  });
  if (text === undefined) return 'nothing';
  return printable(text.length > longestBrief ? `${text.slice(0, longestBrief - 3)}...` : text);
}

function firstKeys(object: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const part: Record<string, unknown> = Object.create(null);
  let keys = 0;
  for (const key in object) {
    if (keys++ === mostItems) break;
    part[key] = object[key];
  }
  return part;
}
