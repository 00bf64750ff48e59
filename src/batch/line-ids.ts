/**
 * How a line is identified. Its name is its custom_id; a line without one is named after its content, and a
 * line whose name an earlier line has after its content and its number. The result's `id` carries the hash
 * of the name and a check of the content, so that a result identifies its line wherever that is: files may
 * be split, joined and sorted between two runs.
 */

import { hash } from 'node:crypto';
import type { LineKey, LineTable } from './line-table.ts';
import type { Line } from './lines.ts';

/** A line in the table. */
export interface KnownLine {
  readonly key: LineKey;
  readonly slot: number;
  /** Whether an earlier line has the same custom_id. */
  readonly isDouble: boolean;
}

/** Enters a line of the first pass. */
export function enterLine(table: LineTable, line: Line, customId: string | null): void {
  if (!table.add(keyOf(line, customId))) table.add(doubleKeyOf(line));
}

/**
 * Finds a line in the second pass, which must read all lines in the order of the first; null if the first
 * pass did not enter it.
 */
export function meetLine(table: LineTable, line: Line, customId: string | null): KnownLine | null {
  const key = keyOf(line, customId);
  const slot = table.find(key);
  if (slot !== null && table.meet(slot)) {
    if (table.hasContent(slot, key)) return { key, slot, isDouble: false };
  } else {
    const double = doubleKeyOf(line);
    const doubleSlot = table.find(double);
    if (slot !== null && doubleSlot !== null) {
      return { key: double, slot: doubleSlot, isDouble: true };
    }
  }
  return null;
}

function keyOf(line: Line, customId: string | null): LineKey {
  // As JSON, since all unpaired surrogates would become the same character in UTF-8.
  const name = customId === null ? `line ${hex(line.digest)}` : `id ${JSON.stringify(customId)}`;
  return { name: hashOf(name), check: wordAt(line.digest, 0) };
}

function doubleKeyOf({ number, digest }: Line): LineKey {
  return { name: hashOf(`double ${number} ${hex(digest)}`), check: wordAt(digest, 0) };
}

function hashOf(text: string): readonly [number, number] {
  const digest = hash('sha256', text, 'buffer');
  return [wordAt(digest, 0), wordAt(digest, 4)];
}

function wordAt(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

const idPrefix = 'batch_req_';
const pattern = /^batch_req_([0-9a-f]{8})([0-9a-f]{8})([0-9a-f]{8})$/;

/** The beginning of every result. */
export const resultStart = `{"id":"${idPrefix}`;

/** The 24 hexadecimal digits that identify a line. */
export function digitsOf({ name, check }: LineKey): string {
  return [...name, check].map((word) => word.toString(16).padStart(8, '0')).join('');
}

/** The `id` of the result for a line. */
export function formatId(key: LineKey): string {
  return idPrefix + digitsOf(key);
}

/** The line that a result's `id` identifies; null if it is not such an id. */
export function parseId(id: unknown): LineKey | null {
  const [, high, low, check] = pattern.exec(typeof id === 'string' ? id : '') ?? [];
  if (high === undefined || low === undefined || check === undefined) return null;
  const word = (digits: string) => Number.parseInt(digits, 16);
  return { name: [word(high), word(low)], check: word(check) };
}

/** The seed for a line whose body sets none: the same in every run. */
export function seedOf({ name, check }: LineKey, seed: number): number {
  const digest = hash('sha256', `seed ${seed} ${name} ${check}`, 'buffer');
  return wordAt(digest, 0);
}
