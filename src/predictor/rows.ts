/** Matrices of f32 to and from their stored form. */

import { byteLength, type EncodedDType } from '../dtype.ts';
import type { Kernels } from '../kernels/kernels.ts';
import type { Address } from '../kernels/signature.ts';

/** A matrix as f32 at `floats`, and as rows of `dtype` at `stored`. */
export interface StoredMatrix {
  readonly dtype: EncodedDType;
  readonly rows: number;
  readonly columns: number;
  readonly floats: Address;
  readonly stored: Address;
}

/** Bytes of the stored form. */
export function storedBytes({ dtype, rows, columns }: Omit<StoredMatrix, 'floats' | 'stored'>) {
  return rows * byteLength(dtype, columns);
}

/** Writes the stored form. */
export function storeRows(kernels: Kernels, matrix: StoredMatrix): void {
  const { fromF32 } = kernels.byDType[matrix.dtype];
  eachPiece(matrix, fromF32);
}

/** Writes the f32 values of the stored form. */
export function loadRows(kernels: Kernels, matrix: StoredMatrix): void {
  const { toF32 } = kernels.byDType[matrix.dtype];
  eachPiece(matrix, (stored, floats, count) => toF32(floats, stored, count));
}

/** Row by row, or all at once where a row consists of whole blocks. */
function eachPiece(
  matrix: StoredMatrix,
  use: (stored: Address, floats: Address, count: number) => void,
): void {
  const { dtype, rows, columns, floats, stored } = matrix;
  if (storedBytes(matrix) === byteLength(dtype, columns * rows)) {
    use(stored, floats, rows * columns);
    return;
  }
  const rowBytes = byteLength(dtype, columns);
  for (let row = 0; row < rows; row++) {
    use(stored + row * rowBytes, floats + 4 * row * columns, columns);
  }
}
