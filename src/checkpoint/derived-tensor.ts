/** Tensors derived from another tensor: its rows in another order, or its values with something added. */

import { formats } from '../dtype.ts';
import { InputError } from '../errors.ts';
import { checkReadRange } from './shape.ts';
import type { SourceTensor } from './source.ts';
import { sourceDTypes } from './source-dtype.ts';

/** Bytes of rows that are read at once for reordering. */
const windowBytes = 2 * 2 ** 20;

/**
 * The rows of `tensor`, or some of them, in another order.
 * @param count how many rows the result has
 * @param sourceOf maps a row of the result to its row in `tensor`
 * @throws InputError when `tensor` does not have such rows
 */
export function reorderedRows(
  tensor: SourceTensor,
  count: number,
  sourceOf: (row: number) => number,
): SourceTensor {
  const [rows = 0, ...rest] = tensor.shape;
  // The columns of the original are not the columns of the result.
  const { dtype, turned: _, ...values } = tensor;
  if (dtype === 'other') return { ...tensor, shape: [count, ...rest] };
  for (let row = 0; row < count; row++) {
    if (sourceOf(row) < rows) continue;
    throw new InputError(
      `has ${rows} rows, too few for its heads`,
      { file: tensor.file, tensor: tensor.name },
      'The metadata and the weights contradict each other',
    );
  }
  const width = rest.reduce((product, size) => product * size, 1);
  const { blocks } = tensor;
  const blockElements = blocks === undefined ? 1 : formats[blocks.dtype].blockElements;
  return {
    ...values,
    dtype,
    shape: [count, ...rest],
    contiguous: false,
    read: rowReader(tensor.name, tensor.read, count, sourceOf, width, sourceDTypes[dtype].bytes),
    ...(blocks && {
      blocks: {
        dtype: blocks.dtype,
        read: rowReader(
          tensor.name,
          blocks.read,
          count,
          sourceOf,
          width / blockElements,
          formats[blocks.dtype].blockBytes,
        ),
      },
    }),
  };
}

/** Reads a range of the units that rows consist of: elements or blocks. */
type ReadRange = (start: number, length: number, target: Uint8Array) => Promise<void>;

/**
 * `read` with rows in another order.
 * @param width elements or blocks of a row, `unitBytes` each
 */
function rowReader(
  name: string,
  read: ReadRange,
  count: number,
  sourceOf: (row: number) => number,
  width: number,
  unitBytes: number,
): ReadRange {
  const rowBytes = width * unitBytes;
  return async (start, length, target) => {
    checkReadRange(name, count * width, unitBytes, start, length, target);
    if (length === 0) return;
    const end = start + length;
    const lastRow = Math.ceil(end / width);
    for (let first = Math.floor(start / width); first < lastRow; ) {
      const window = nextWindow(first, lastRow, rowBytes, sourceOf);
      const bytes = new Uint8Array((window.high - window.low) * rowBytes);
      await read(window.low * width, (window.high - window.low) * width, bytes);
      for (let row = first; row < window.end; row++) {
        // The range may need only a part of its first and last row.
        const from = Math.max(start, row * width);
        const to = Math.min(end, (row + 1) * width);
        const at = ((sourceOf(row) - window.low - row) * width + from) * unitBytes;
        target.set(bytes.subarray(at, at + (to - from) * unitBytes), (from - start) * unitBytes);
      }
      first = window.end;
    }
  };
}

/**
 * Rows [first, end) whose sources lie close together, in rows [low, high) of the source: at most twice as
 * many as needed.
 */
function nextWindow(
  first: number,
  lastRow: number,
  rowBytes: number,
  sourceOf: (row: number) => number,
): { readonly end: number; readonly low: number; readonly high: number } {
  let low = sourceOf(first);
  let high = low + 1;
  let end = first + 1;
  for (; end < lastRow; end++) {
    const source = sourceOf(end);
    const span = Math.max(high, source + 1) - Math.min(low, source);
    if (span > 2 * (end + 1 - first) || span * rowBytes > windowBytes) break;
    low = Math.min(low, source);
    high = Math.max(high, source + 1);
  }
  return { end, low, high };
}

/**
 * The values of `tensor`, which must be f32, with `addend` added.
 * @throws InputError when they are of another dtype
 */
export function withAddend(tensor: SourceTensor, addend: number): SourceTensor {
  if (tensor.dtype === 'other') return tensor;
  if (tensor.dtype !== 'f32') {
    throw new InputError(`is ${tensor.dtype}, but norms must be f32`, {
      file: tensor.file,
      tensor: tensor.name,
    });
  }
  const { blocks: _blocks, exactAs: _exact, ...values } = tensor;
  return {
    ...values,
    async read(start, count, target) {
      await tensor.read(start, count, target);
      const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
      for (let at = 0; at < view.byteLength; at += 4) {
        view.setFloat32(at, view.getFloat32(at, true) + addend, true);
      }
    },
  };
}
