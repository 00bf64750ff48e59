/** The second pass over the input: lines that are not answered yet. */

import { brief } from '../checkpoint/json-file.ts';
import { FlashError } from '../errors.ts';
import { Refusal } from '../openai/refusal.ts';
import type { Call } from './call.ts';
import { meetLine } from './line-ids.ts';
import type { LineKey, LineTable } from './line-table.ts';
import { isBlank, type LineFile, linesOf } from './lines.ts';
import { longestLineBytes, type ReadLine, readLine } from './read-line.ts';

/** A line that is to be answered. */
export interface OpenLine {
  /** Counted from 1 on. */
  readonly number: number;
  readonly key: LineKey;
  /** Of the table. */
  readonly slot: number;
  /** What the result carries. */
  readonly customId: string | null;
  readonly call: Call | Refusal;
}

/**
 * The lines of the input that the table, which the first pass has made, does not have as answered.
 * @throws FlashError when the input is no longer what the first pass read
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

/** A line whose custom_id, if it has one, is answered elsewhere: of each, there is one result. */
function doubleOf({ customId, call }: ReadLine): ReadLine {
  if (customId === null) return { customId, call };
  const message = `the custom_id ${brief(customId)} is that of an earlier line, too`;
  return { customId: null, call: new Refusal('duplicate_custom_id', message) };
}
