/** Parses a line of the input into its request, or into the reason for its refusal. */

import { brief, isJsonObject, parseJsonText } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import { jsonExcess } from '../json-limits.ts';
import { badRequest, Refusal } from '../openai/refusal.ts';
import { textOfUtf8 } from '../utf8.ts';
import type { Call } from './call.ts';
import { endpointAt } from './endpoints.ts';
import type { Line } from './lines.ts';

/** The most bytes of a line. A prompt of this length has some 200,000 tokens. */
export const longestLineBytes = 2 ** 20;
/** The most arrays and objects in a line. */
const mostBrackets = 1024;
/** Memory that a line takes while it is processed (texts, values, ids), as a multiple of its bytes. */
export const memoryPerLineByte = 8;
/** The most UTF-16 units of a custom_id. */
const longestCustomId = 1024;

export interface ReadLine {
  /** Null if the line has none. */
  readonly customId: string | null;
  readonly call: Call | Refusal;
}

/** Parses a line; the result contains any error. */
export function readLine(line: Line): ReadLine {
  let customId: string | null = null;
  try {
    const value = parseLine(line);
    customId = customIdOf(value);
    return { customId, call: callOf(value) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { customId, call: error };
  }
}

type Fields = Readonly<Record<string, unknown>>;

function parseLine({ bytes, length }: Line): Fields {
  if (bytes === null) {
    const message = `the line has ${length} bytes; the limit is ${longestLineBytes}`;
    throw new Refusal('line_too_long', message);
  }
  const text = textOfUtf8(bytes);
  const excess = text === null ? null : jsonExcess(text, mostBrackets);
  if (text === null || excess !== null) {
    throw new Refusal('invalid_json_line', `the line ${excess?.what ?? 'is not UTF-8 text'}`);
  }
  let value: unknown;
  try {
    value = parseJsonText(text, 'line');
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new Refusal('invalid_json_line', `the line ${error.message}`);
  }
  if (isJsonObject(value)) return value;
  throw new Refusal('invalid_json_line', `the line is not a JSON object: ${brief(value)}`);
}

function customIdOf({ custom_id: value }: Fields): string {
  if (value === undefined || value === null) {
    throw new Refusal('missing_custom_id', "'custom_id' is missing");
  }
  if (typeof value === 'string' && value !== '' && value.length <= longestCustomId) return value;
  const must = `a text of 1 to ${longestCustomId} characters`;
  throw new Refusal('invalid_custom_id', `'custom_id' must be ${must}, not ${brief(value)}`);
}

function callOf({ method, url, body }: Fields): Call {
  if (method !== 'POST') {
    const message = `'method' must be POST, not ${brief(method)}`;
    throw new Refusal('invalid_method', message, { status: 405 });
  }
  const endpoint = endpointAt(url);
  if (isJsonObject(body)) return endpoint(body);
  throw badRequest('invalid_value', `'body' must be an object, not ${brief(body)}`, 'body');
}
