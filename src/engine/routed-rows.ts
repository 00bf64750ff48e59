/**
 * Groups the rows of a batch by the experts that they take. The experts' contributions lie in the order of
 * the experts' numbers, so that they may be computed in any order but are always summed in the same one: a
 * row's result depends, to the bit, on its own experts alone.
 */

import { kernelSizes } from '../kernels/constants.ts';
import type { Kernels } from '../kernels/kernels.ts';
import type { WeightSelection } from './selection.ts';

const f32Bytes = 4;
const u32Bytes = 4;

/** The rows that take one expert. */
export interface ExpertRows {
  readonly expert: number;
  /** Ascending. */
  readonly rows: readonly number[];
  /** First row of its contributions in (rows topK, hidden). */
  readonly first: number;
}

/** The rows of each expert that any row takes, those of the first experts first. */
export function rowsByExpert({ units, weights, count, rows }: WeightSelection): ExpertRows[] {
  let first = 0;
  return Array.from(units, (expert): ExpertRows => {
    const own: number[] = [];
    for (let row = 0; row < rows; row++) if (weights[row * count + expert] !== 0) own.push(row);
    const found = { expert, rows: own, first };
    first += own.length;
    return found;
  });
}

/** Addresses of the tables of rows and choices that the kernels read. */
export interface RoutingTables {
  /** u32 (rows topK): the rows of each expert, from index {@link ExpertRows.first} on. */
  readonly rows: number;
  /** (rows, topK) choices, of `choiceBytes` each: where each row's contributions lie, and their weights. */
  readonly choices: number;
}

/** Marks an unused choice of a row, in place of a row of contributions. */
const noChoice = 0xffffffff;

/**
 * Writes what {@link gatherRows} and the kernel `addChoices` read.
 * @param experts from {@link rowsByExpert}
 * @param topK the most experts of a row
 */
export function writeTables(
  memory: WebAssembly.Memory,
  tables: RoutingTables,
  experts: readonly ExpertRows[],
  { weights, count, rows }: WeightSelection,
  topK: number,
): void {
  const words = kernelSizes.choiceBytes / 4;
  const list = new Uint32Array(memory.buffer, tables.rows, rows * topK);
  const choices = new Uint32Array(memory.buffer, tables.choices, rows * topK * words);
  const shares = new Float32Array(memory.buffer, tables.choices, choices.length);
  choices.fill(noChoice);
  const next = Uint32Array.from({ length: rows }, (_, row) => row * topK * words);
  for (const { expert, rows: own, first } of experts) {
    for (let i = 0; i < own.length; i++) {
      const row = own[i] ?? 0;
      list[first + i] = row;
      const at = next[row] ?? 0;
      choices[at] = first + i;
      choices[at + 1] = expert;
      shares[at + 2] = weights[row * count + expert] ?? 0;
      next[row] = at + words;
    }
  }
}

/**
 * Lays the rows that take an expert side by side.
 * @param places.x (rows of the batch, hidden)
 * @param places.target (rows that take it, hidden), used where the rows are not contiguous already
 * @returns where they lie
 */
export function gatherRows(
  kernels: Pick<Kernels, 'gatherRows'>,
  { rows, first }: ExpertRows,
  { x, target, tables }: { x: number; target: number; tables: RoutingTables },
  hidden: number,
): number {
  const [row = 0] = rows;
  if (rows.at(-1) === row + rows.length - 1) return x + row * hidden * f32Bytes;
  kernels.gatherRows(target, x, tables.rows + first * u32Bytes, rows.length, hidden);
  return target;
}
