/**
 * The rows of a batch by the experts that they take. What experts contribute lies expert by expert, in the
 * order of their numbers, so that it may be computed in any order and is summed in one: a row's result
 * depends on its own experts alone, to the bit.
 */

import type { Kernels } from '../kernels/kernels.ts';
import type { WeightSelection } from './selection.ts';

const f32Bytes = 4;

/** The rows that take one expert. */
export interface ExpertRows {
  readonly expert: number;
  /** Ascending. */
  readonly rows: readonly number[];
  /** Where in (rows topK, hidden) its contributions to them begin, in rows. */
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

/**
 * Lays the rows that take an expert side by side.
 * @param x (rows of the batch, hidden)
 * @param target (rows that take it, hidden), where they do not lie so already
 * @returns where they lie
 */
export function gatherRows(
  kernels: Pick<Kernels, 'copyRows'>,
  { rows }: Pick<ExpertRows, 'rows'>,
  x: number,
  target: number,
  hidden: number,
): number {
  const rowBytes = hidden * f32Bytes;
  const [first = 0] = rows;
  if (rows.at(-1) === first + rows.length - 1) return x + first * rowBytes;
  for (const [index, row] of rows.entries()) {
    kernels.copyRows(target + index * rowBytes, x + row * rowBytes, 1, rowBytes, 0, 0);
  }
  return target;
}

/**
 * y[row] += weight times contribution, for each expert that a row takes, in the order of their numbers.
 * @param contributions (rows topK, hidden), which are used up
 * @param bias (experts, hidden) that is a part of each contribution, or 0
 * @param y (rows, hidden)
 */
export function addContributions(
  kernels: Pick<Kernels, 'add' | 'scale'>,
  experts: readonly ExpertRows[],
  { weights, count }: Pick<WeightSelection, 'weights' | 'count'>,
  { contributions, bias, y }: { contributions: number; bias: number; y: number },
  hidden: number,
): void {
  const rowBytes = hidden * f32Bytes;
  for (const { expert, rows, first } of experts) {
    for (const [index, row] of rows.entries()) {
      const contribution = contributions + (first + index) * rowBytes;
      if (bias !== 0) kernels.add(contribution, bias + expert * rowBytes, hidden);
      kernels.scale(contribution, hidden, weights[row * count + expert] ?? 0);
      kernels.add(y + row * rowBytes, contribution, hidden);
    }
  }
}
