/** Whether two tensors of a checkpoint are the same values, stored twice. */

import type { SourceTensor } from '../checkpoint/source.ts';
import { sourceDTypes } from '../checkpoint/source-dtype.ts';

/** Bytes of each tensor that are compared at once. */
const pieceBytes = 2 ** 20;

/**
 * Whether `a` and `b` hold the same values in the same type and shape. Reads both, up to the first
 * difference; tensors that differ usually do so at the beginning.
 * @param mostBytes of each tensor that are compared
 * @throws InputError when a file is shorter than its header says; IoError when reading fails
 */
export async function sameValues(
  a: SourceTensor,
  b: SourceTensor,
  mostBytes = Number.POSITIVE_INFINITY,
): Promise<boolean> {
  const { dtype, shape } = a;
  if (dtype === 'other' || dtype !== b.dtype || shape.join() !== b.shape.join()) return false;
  const { bytes } = sourceDTypes[dtype];
  const all = shape.reduce((product, size) => product * size, 1);
  const elements = Math.min(all, Math.floor(mostBytes / bytes));
  const step = Math.floor(Math.min(pieceBytes, mostBytes) / bytes);
  const [left, right] = [Buffer.allocUnsafe(step * bytes), Buffer.allocUnsafe(step * bytes)];
  for (let start = 0; start < elements; start += step) {
    const count = Math.min(step, elements - start);
    const [x, y] = [left, right].map((buffer) => buffer.subarray(0, count * bytes));
    if (x === undefined || y === undefined) return false;
    await Promise.all([a.read(start, count, x), b.read(start, count, y)]);
    if (!x.equals(y)) return false;
  }
  return true;
}
