/** The second pass over the input: the lines that are not answered yet. */

import { brief } from '../checkpoint/json-file.ts';
import { FlashError } from '../errors.ts';
import { Refusal } from '../openai/refusal.ts';
import type { Call } from './call.ts';
import { meetLine } from './line-ids.ts';
import type { LineKey, LineTable } from './line-table.ts';
import { isBlank, type LineFile, linesOf } from './lines.ts';
import { longestLineBytes, type ReadLine, readLine } from './read-line.ts';

/** A line to be answered. */
export interface OpenLine {
  /** The line's number, from 1. */
  readonly number: number;
  readonly key: LineKey;
  /** The line's slot in the table. */
  readonly slot: number;
  /** The digits of the result's `id`. */
  readonly customId: string | null;
  readonly call: Call | Refusal;
}

/**
 * The lines of the input that the table of the first pass does not mark as answered.
 * @throws FlashError when the input has changed since the first pass
 */
export async function* openLines(
  input: LineFile,
  table: LineTable,
): AsyncGenerator<OpenLine, undefined> {
  const changed = () =>
    new FlashError('was changed while the batch ran', { file: input.path }, 'Run it again');
  let met = 0;
  for await (const line of linesOf(input, { longest: longestLineBytes })) {
    if (isBlank(line)) continue;
    const read = readLine(line);
    const known = meetLine(table, line, read.customId);
    if (known === null) throw changed();
    met++;
    const { key, slot, isDouble } = known;
    if (table.isAnswered(slot)) continue;
    yield { number: line.number, key, slot, ...(isDouble ? doubleOf(read) : read) };
  }
  if (met < table.size) throw changed();
}

/** Refuses a line whose custom_id an earlier line has: each custom_id gets one result. */
function doubleOf({ customId, call }: ReadLine): ReadLine {
  if (customId === null) return { customId, call };
  const message = `an earlier line has the same custom_id ${brief(customId)}`;
  return { customId: null, call: new Refusal('duplicate_custom_id', message) };
}
