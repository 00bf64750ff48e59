/**
 * Reads the results of earlier runs. Every line of the output must answer a different line of the input, with
 * the same model: any other output file is refused and not changed. Only the last line may be incomplete,
 * as a killed process leaves it.
 */

import { brief, isJsonObject, parseJson } from '../checkpoint/json-file.ts';
import { InputError } from '../errors.ts';
import type { Answerer } from '../openai/answerer.ts';
import { parseId, resultStart } from './line-ids.ts';
import type { LineKey, LineTable } from './line-table.ts';
import { isBlank, type Line, type LineFile, linesOf } from './lines.ts';

export interface EarlierResults {
  /** Answered lines. */
  readonly answered: number;
  /** Answered lines whose result is an error. */
  readonly errors: number;
  /** Bytes up to the end of the last complete line; the rest is an incomplete line. */
  readonly bytes: number;
}

/** The most bytes of a result: more than an answer of a million tokens has. */
const longestResultBytes = 64 * 2 ** 20;

const another = 'Give another output file';
const anew = `${another}, or remove the line to have the request answered again`;

export interface EarlierOptions {
  /** The lines of the input. */
  readonly table: LineTable;
  readonly by: Answerer;
  /** The input's path. */
  readonly input: string;
  readonly signal: AbortSignal;
  /** Called with the bytes read so far. */
  readonly onProgress: (bytes: number) => void;
}

/**
 * Reads an output and marks its answered lines in the table.
 * @throws InputError that names the line which is not a result of this input and this model
 */
export async function readEarlierResults(
  output: LineFile,
  options: EarlierOptions,
): Promise<EarlierResults> {
  let [answered, errors, bytes] = [0, 0, 0];
  const { signal, onProgress } = options;
  for await (const line of linesOf(output, { longest: longestResultBytes, signal })) {
    onProgress(line.offset);
    if (!line.ended) {
      if (!isHalfResult(line)) throw notAResult(output, line);
      return { answered, errors, bytes: line.offset };
    }
    bytes = output.bytes;
    if (isBlank(line)) continue;
    const result = parseResult(line);
    if (result === null) throw notAResult(output, line);
    markAnswered(result, line, output, options);
    answered++;
    if (result.isError) errors++;
  }
  return { answered, errors, bytes };
}

/** Marks the line that a result answers. @throws InputError when there is no such line */
function markAnswered(
  { key, customId, fingerprint }: Result,
  { number }: Line,
  { path }: LineFile,
  { table, by, input }: EarlierOptions,
): void {
  const slot = table.find(key);
  const name = customId === null ? '' : ` (custom_id ${brief(customId)})`;
  const refuse = (why: string, hint: string) =>
    new InputError(`line ${number}${name} ${why}`, { file: path }, hint);
  if (slot === null) throw refuse(`answers no request of ${input}`, another);
  if (!table.hasContent(slot, key)) {
    throw refuse(
      `answers a request that differs from the one in ${input} with the same custom_id`,
      anew,
    );
  }
  if (table.isAnswered(slot)) throw refuse('answers the same request as an earlier line', anew);
  if (fingerprint !== null && fingerprint !== by.fingerprint) {
    throw refuse('was made with another model, --exact, --experts or --kv-dtype', another);
  }
  table.setAnswered(slot);
}

function notAResult({ path }: LineFile, { number }: Line): InputError {
  return new InputError(`line ${number} is not the result of a batch`, { file: path }, another);
}

/** Whether a line may be the beginning of a result, written by a process that was then killed. */
function isHalfResult({ bytes }: Line): boolean {
  if (bytes === null) return false;
  const start = Buffer.from(bytes.subarray(0, resultStart.length)).toString('latin1');
  return resultStart.startsWith(start);
}

interface Result {
  readonly key: LineKey;
  readonly customId: unknown;
  readonly isError: boolean;
  /** Null if no model answered. */
  readonly fingerprint: unknown;
}

/** A line as a result; null if it is not one. */
function parseResult({ bytes }: Line): Result | null {
  if (bytes === null) return null;
  let value: unknown;
  try {
    value = parseJson(bytes, 'result');
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
  if (!isJsonObject(value)) return null;
  const key = parseId(value.id);
  if (key === null) return null;
  const { custom_id: customId = null, response, error = null } = value;
  const body = isJsonObject(response) && isJsonObject(response.body) ? response.body : {};
  const fingerprint = body.system_fingerprint ?? null;
  return { key, customId, isError: error !== null, fingerprint };
}
