/** Quantised weights of a checkpoint that stay in their blocks: they are read, checked and copied. */

import type { SourceTensor, StoredBlocks } from '../checkpoint/source.ts';
import { byteLength, type DType, formats } from '../dtype.ts';
import { InputError, InterruptedError } from '../errors.ts';
import { sectorBytes } from '../flash/layout.ts';
import { forEachParallel } from '../parallel.ts';
import { alignDown } from '../units.ts';
import { type Block, type BlockBuffers, type LoadedBlock, stridedReads } from './blocks.ts';

/** A rectangle of whole blocks of a tensor. */
export interface StoredPiece {
  readonly tensor: SourceTensor;
  readonly blocks: StoredBlocks;
  readonly rectangle: Block;
}

/**
 * Cuts rows of `columns` weights into pieces that fit a buffer; if the buffer is large enough, a piece is
 * whole sectors.
 */
export function storedRows(
  { copies }: BlockBuffers,
  dtype: DType,
  rows: number,
  column: number,
  columns: number,
): readonly Block[] {
  const rowBytes = byteLength(dtype, columns);
  const fitting = Math.max(1, Math.floor(copies.bytes / rowBytes));
  const step = alignDown(fitting, sectorBytes / commonPowerOfTwo(rowBytes, sectorBytes)) || fitting;
  return Array.from({ length: Math.ceil(rows / step) }, (_, index) => ({
    row: index * step,
    rows: Math.min(step, rows - index * step),
    column,
    columns,
  }));
}

/** The largest power of two that divides both. */
function commonPowerOfTwo(a: number, b: number): number {
  const bits = a | b;
  return bits & -bits;
}

/**
 * Loads pieces one after the other, unchanged; while one is processed, the next ones are being read.
 * @throws InputError at a block whose scale is NaN or infinite
 */
export async function* copyBlocks(
  work: BlockBuffers,
  pieces: readonly StoredPiece[],
): AsyncGenerator<LoadedBlock> {
  const start = (piece: StoredPiece) => {
    const reading = work.copies.next().then(async (address) => {
      await read(work, piece, address);
      return address;
    });
    reading.catch(() => {}); // it is awaited below, unless an earlier one failed
    return reading;
  };
  // In addition, one is in use and others are being written.
  const ahead = work.copies.count >> 2;
  const reading = pieces.slice(0, ahead).map(start);
  for (const [index, piece] of pieces.entries()) {
    if (work.signal?.aborted) throw new InterruptedError();
    const following = pieces[index + ahead];
    const address = (await reading.shift()) as number;
    if (following !== undefined) reading.push(start(following));
    checkScales(work, piece, address);
    const { rectangle, blocks } = piece;
    const bytes = rectangle.rows * byteLength(blocks.dtype, rectangle.columns);
    yield { ...rectangle, address, view: new Uint8Array(work.memory.buffer, address, bytes) };
  }
}

function checkScales(
  { kernels }: BlockBuffers,
  { tensor, blocks, rectangle: { row, rows, column, columns } }: StoredPiece,
  address: number,
): void {
  const bad = kernels.byDType[blocks.dtype].firstNonFinite(address, rows * columns);
  if (bad < 0) return;
  throw new InputError(
    `a scale is not a finite number, in the block of index [${row + Math.floor(bad / columns)}, ${column + (bad % columns)}]`,
    { file: tensor.file, tensor: tensor.name },
    'The checkpoint is damaged or was saved from a diverged run',
  );
}

async function read(
  work: BlockBuffers,
  { tensor: { shape }, blocks, rectangle: { row, rows, column, columns } }: StoredPiece,
  address: number,
): Promise<void> {
  const { dtype, read: readBlocks } = blocks;
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
