/** Quantised weights on their way from a checkpoint when they stay in their blocks: read, checked, copied. */

import type { SourceTensor, StoredBlocks } from '../checkpoint/source.ts';
import { byteLength, type DType, formats } from '../dtype.ts';
import { InputError, InterruptedError } from '../errors.ts';
import { forEachParallel } from '../parallel.ts';
import { type Block, type BlockBuffers, type LoadedBlock, stridedReads } from './blocks.ts';

/** Bytes in one read at most: past the point where larger ones are faster. */
const largestRead = 8 * 2 ** 20;

/** Rows of `columns` weights as many as a buffer of the workspace holds of their bytes. */
export function storedRows(
  work: BlockBuffers,
  dtype: DType,
  rows: number,
  column: number,
  columns: number,
): readonly Block[] {
  const bytes = Math.min(largestRead, byteLength('f32', work.elements));
  const step = Math.max(1, Math.floor(bytes / byteLength(dtype, columns)));
  return Array.from({ length: Math.ceil(rows / step) }, (_, index) => ({
    row: index * step,
    rows: Math.min(step, rows - index * step),
    column,
    columns,
  }));
}

/**
 * Loads rectangles of whole blocks one after the other as they are; while one is worked on, the next is
 * being read.
 * @throws InputError at a block whose scale is NaN or infinite
 */
export async function* copyBlocks(
  work: BlockBuffers,
  source: SourceTensor,
  blocks: StoredBlocks,
  rectangles: readonly Block[],
): AsyncGenerator<LoadedBlock> {
  const { firstNonFinite } = work.kernels.byDType[blocks.dtype];
  const start = (index: number) => {
    const rectangle = rectangles[index];
    if (rectangle === undefined) return null;
    const reading = work.copies.next().then(async (address) => {
      await read(work, source, blocks, rectangle, address);
      return address;
    });
    reading.catch(() => {}); // it is awaited below, unless an earlier one failed
    return reading;
  };
  let reading = start(0);
  for (const [index, rectangle] of rectangles.entries()) {
    if (work.signal?.aborted) throw new InterruptedError();
    const address = (await reading) as number;
    reading = start(index + 1);
    const { row, rows, column, columns } = rectangle;
    const bad = firstNonFinite(address, rows * columns);
    if (bad >= 0) {
      throw new InputError(
        `a scale is not a finite number, in the block of [${row + Math.floor(bad / columns)}, ${column + (bad % columns)}]`,
        { file: source.file, tensor: source.name },
        'The checkpoint is damaged or was saved from a diverged run',
      );
    }
    const bytes = rows * byteLength(blocks.dtype, columns);
    yield { ...rectangle, address, view: new Uint8Array(work.memory.buffer, address, bytes) };
  }
}

async function read(
  work: BlockBuffers,
  { shape }: SourceTensor,
  { dtype, read: readBlocks }: StoredBlocks,
  { row, rows, column, columns }: Block,
  address: number,
): Promise<void> {
  const { blockElements } = formats[dtype];
  const width = (shape.at(-1) ?? 1) / blockElements;
  const count = columns / blockElements;
  const bytes = byteLength(dtype, columns);
  const target = new Uint8Array(work.memory.buffer, address, rows * bytes);
  if (count === width) return readBlocks(row * width, rows * width, target);
  const from = column / blockElements;
  const indices = Array.from({ length: rows }, (_, index) => index);
  await forEachParallel(indices, stridedReads, (index) =>
    readBlocks(
      (row + index) * width + from,
      count,
      target.subarray(index * bytes, (index + 1) * bytes),
    ),
  );
}
