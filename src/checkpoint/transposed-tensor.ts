/** Matrices that a checkpoint stores transposed: (inputs, outputs), like the layers of GPT-2. */

import { forEachParallel } from '../parallel.ts';
import { checkReadRange } from './shape.ts';
import type { SourceDType, SourceTensor } from './source.ts';
import { sourceDTypes } from './source-dtype.ts';

/** Reads of a few values each; this many are kept in flight. */
const readsAtOnce = 16;

/** A rectangle of a matrix. */
export interface Rectangle {
  readonly row: number;
  readonly rows: number;
  readonly column: number;
  readonly columns: number;
}

/**
 * Transposes the matrix `tensor`, or each matrix of a stack. A tensor of any other shape is returned
 * unchanged, so that the error can name its shape.
 */
export function transposedMatrix(tensor: SourceTensor): SourceTensor {
  const [rows = 0, columns = 0, ...more] = tensor.shape;
  const { dtype, blocks: _, ...rest } = tensor;
  if (dtype !== 'other' && more.length === 1) return transposedStack(tensor, dtype);
  if (dtype === 'other' || more.length > 0) return tensor;
  const unitBytes = sourceDTypes[dtype].bytes;
  return {
    ...rest,
    dtype,
    shape: [columns, rows],
    contiguous: false,
    turned: tensor,
    async read(start, count, target) {
      checkReadRange(tensor.name, rows * columns, unitBytes, start, count, target);
      if (count === 0) return;
      const first = Math.floor(start / rows);
      const wanted = { row: first, rows: Math.ceil((start + count) / rows) - first };
      const bytes = new Uint8Array(wanted.rows * rows * unitBytes);
      await readTurned(tensor, { ...wanted, column: 0, columns: rows }, bytes);
      const from = (start - first * rows) * unitBytes;
      target.set(bytes.subarray(from, from + target.length));
    },
  };
}

/** (matrices, columns, rows) of (matrices, rows, columns). */
function transposedStack(tensor: SourceTensor, dtype: SourceDType): SourceTensor {
  const [count = 0, rows = 0, columns = 0] = tensor.shape;
  const values = rows * columns;
  const unitBytes = sourceDTypes[dtype].bytes;
  const { blocks: _, ...rest } = tensor;
  const single = (matrix: number) =>
    transposedMatrix({
      ...rest,
      dtype,
      shape: [rows, columns],
      read: (start, length, target) => tensor.read(matrix * values + start, length, target),
    });
  return {
    ...rest,
    dtype,
    shape: [count, columns, rows],
    contiguous: false,
    async read(start, length, target) {
      checkReadRange(tensor.name, count * values, unitBytes, start, length, target);
      const end = start + length;
      for (let at = start; at < end; ) {
        const matrix = Math.floor(at / values);
        const until = Math.min(end, (matrix + 1) * values);
        const own = target.subarray((at - start) * unitBytes, (until - start) * unitBytes);
        await single(matrix).read(at - matrix * values, until - at, own);
        at = until;
      }
    },
  };
}

/**
 * Reads a rectangle of the {@link transposedMatrix} of `tensor`, row by row, into `target`.
 * @throws InputError when the file is shorter than its header says; IoError when reading fails
 */
export async function readTurned(
  tensor: SourceTensor,
  { row, rows, column, columns }: Rectangle,
  target: Uint8Array,
): Promise<void> {
  const width = tensor.shape[1] ?? 0;
  const unitBytes = target.length / (rows * columns);
  const inFile = Array.from({ length: columns }, (_, index) => index);
  await forEachParallel(inFile, readsAtOnce, async (index) => {
    const values = new Uint8Array(rows * unitBytes);
    await tensor.read((column + index) * width + row, rows, values);
    for (let i = 0; i < rows; i++) {
      const to = (i * columns + index) * unitBytes;
      for (let b = 0; b < unitBytes; b++) target[to + b] = values[i * unitBytes + b] ?? 0;
    }
  });
}
