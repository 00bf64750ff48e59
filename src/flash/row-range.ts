/** Ranges of a stored tensor's rows as the unit of reading: their bytes, and how to cut them. */

import { alignDown, alignUp } from '../units.ts';
import { sectorBytes } from './layout.ts';
import { rowsOf, type StoredTensor } from './manifest.ts';

/** Rows [first, first + count) of a tensor; both ends are block boundaries. */
export interface RowRange {
  readonly tensor: StoredTensor;
  readonly first: number;
  readonly count: number;
}

/** The sectors that hold a range: file offset, length, and how far into them the range begins. */
export interface Span {
  readonly start: number;
  readonly bytes: number;
  readonly skip: number;
}

export function spanOf({ tensor, first, count }: RowRange): Span {
  const { rowBytes } = rowsOf(tensor);
  const begin = tensor.offset + first * rowBytes;
  const start = alignDown(begin, sectorBytes);
  const end = alignUp(begin + count * rowBytes, sectorBytes);
  return { start, bytes: end - start, skip: begin - start };
}

/** Bytes of one checksummed block, the smallest that can be read. */
export function blockBytesOf(tensor: StoredTensor): number {
  return tensor.rowsPerBlock * rowsOf(tensor).rowBytes;
}

/** Cuts rows [from, to) into ranges of at most `bytes`, and at least one block. */
export function cutRows(
  tensor: StoredTensor,
  bytes: number,
  from = 0,
  to = rowsOf(tensor).rows,
): RowRange[] {
  const step = Math.max(1, Math.floor(bytes / blockBytesOf(tensor))) * tensor.rowsPerBlock;
  const ranges: RowRange[] = [];
  for (let first = from; first < to; first += step) {
    ranges.push({ tensor, first, count: Math.min(step, to - first) });
  }
  return ranges;
}

/** The block that holds `row`, as a range. */
export function blockOf(tensor: StoredTensor, row: number): RowRange {
  const { rows } = rowsOf(tensor);
  const first = alignDown(row, tensor.rowsPerBlock);
  return { tensor, first, count: Math.min(tensor.rowsPerBlock, rows - first) };
}

/** Single rows of a tensor and their destinations: `rows[i]` goes to `addresses[i]`. */
export interface RowPlaces {
  readonly rows: readonly number[];
  readonly addresses: readonly number[];
}
