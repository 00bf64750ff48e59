/** A matrix whose rows are divided by their lengths, as in heads with normalised weights. */

import { computedTensor, valuesOf } from './float-values.ts';
import type { SourceTensor } from './source.ts';

/** The lower bound of the divisor. */
const leastLength = 1e-12;

/**
 * The rows of `tensor`, each of length 1. A tensor that is not a matrix is returned unchanged, so that the
 * error can name its shape.
 */
export function unitRows(tensor: SourceTensor): SourceTensor {
  const [rows = 0, columns = 0, ...more] = tensor.shape;
  if (tensor.dtype === 'other' || rows === 0 || columns === 0 || more.length > 0) return tensor;
  const read = valuesOf(tensor);
  const unit = computedTensor(tensor, async (start, out) => {
    const row = new Float32Array(columns);
    for (let done = 0; done < out.length; ) {
      const at = start + done;
      const first = at % columns;
      const count = Math.min(columns - first, out.length - done);
      await read(at - first, row);
      let squares = 0;
      for (const value of row) squares += value * value;
      const length = Math.max(leastLength, Math.fround(Math.sqrt(squares)));
      for (let i = 0; i < count; i++) out[done + i] = (row[first + i] ?? 0) / length;
      done += count;
    }
  });
  return { ...unit, keptAs: tensor.keptAs ?? tensor.dtype };
}
