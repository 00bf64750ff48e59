/**
 * Loads every weight from a checkpoint: reads it by range into WebAssembly memory, checks it for NaN and
 * infinity, and converts it to its dtype. While one block is processed, the next is being read and the
 * results of earlier ones are being written.
 */

import type { SourceTensor } from '../checkpoint/source.ts';
import { type Rectangle, readTurned } from '../checkpoint/transposed-tensor.ts';
import {
  byteLength,
  type EncodedDType,
  type FloatDType,
  formats,
  isQuantised,
  neuronDTypes,
} from '../dtype.ts';
import { InputError, InterruptedError } from '../errors.ts';
import { sectorBytes } from '../flash/layout.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { forEachParallel } from '../parallel.ts';
import { alignDown, alignUp, MIB } from '../units.ts';
import type { Helper } from './helper.ts';
import { PendingWrites, Rotation } from './pending-writes.ts';

/** The values that are converted at once; a vector is a matrix of one row. */
export type Block = Rectangle;

/** A block in memory: `rows x columns` values without gaps between the rows, at `address`. */
export interface LoadedBlock extends Block {
  readonly address: number;
  readonly view: Uint8Array;
}

/** Buffers for blocks of at most `elements` values; allocated once. */
export interface BlockBuffers {
  readonly kernels: Kernels;
  readonly memory: WebAssembly.Memory;
  readonly elements: number;
  /** Two buffers that reads alternate between. */
  readonly readAddresses: readonly [number, number];
  readonly floatAddress: number;
  readonly convertedAddress: number;
  readonly signal: AbortSignal | undefined;
  /** The same memory, for data that is copied and not converted. */
  readonly copies: Rotation;
  /** Writes from the buffers that have not ended. */
  readonly pending: PendingWrites;
  /** Computes checksums while it is free. */
  readonly helper: Helper | null;
}

/** Bytes of the buffers for blocks. */
export function blockBufferBytes(elements: number): number {
  return 4 * byteLength('f32', elements);
}

/**
 * Data that is copied and not converted is read in pieces of this many bytes: a few of them keep the device
 * busy.
 */
const copyBytes = 2 * MIB;
const fewestCopies = 4;

/** Addresses of the buffers for blocks, and the sizes that they must hold. */
export interface BlockGeometry {
  readonly address: number;
  /** Values of a block. */
  readonly elements: number;
  /** Values of the longest row; a block holds at least that. */
  readonly longestRow: number;
}

/** Lays out the buffers for blocks from an address on. */
export function createBlockBuffers(
  memory: WebAssembly.Memory,
  kernels: Kernels,
  { address, elements, longestRow }: BlockGeometry,
  signal: AbortSignal | undefined,
  helper: Helper | null = null,
): BlockBuffers {
  const bytes = byteLength('f32', elements);
  const rowBytes = byteLength('f32', longestRow);
  const pending = new PendingWrites();
  const all = blockBufferBytes(elements);
  const count = Math.max(fewestCopies, Math.floor(all / Math.max(rowBytes, copyBytes)));
  const each = Math.max(alignDown(Math.floor(all / count), sectorBytes), rowBytes);
  return {
    kernels,
    memory,
    elements,
    readAddresses: [address, address + bytes],
    floatAddress: address + 2 * bytes,
    convertedAddress: address + 3 * bytes,
    signal,
    copies: new Rotation(address, count, each, pending),
    pending,
    helper,
  };
}

/** Reads of partial rows are short; this many are kept in flight. */
export const stridedReads = 16;

/**
 * Quantised rows are no longer than f32 ones if columns are counted in these; rows in blocks of GGUF files
 * are whole blocks anyway.
 */
export const widestBlock = Math.max(...neuronDTypes.map((dtype) => formats[dtype].blockElements));

/** Cuts `rows` rows of `columns` values into runs that fit the buffers, at multiples of `multiple`. */
export function rowBlocks(
  work: BlockBuffers,
  rows: number,
  column: number,
  columns: number,
  multiple = 1,
): readonly Block[] {
  const fitting = Math.floor(work.elements / alignUp(columns, widestBlock));
  const step = Math.max(1, Math.floor(fitting / multiple)) * multiple;
  return Array.from({ length: Math.ceil(rows / step) }, (_, index) => ({
    row: index * step,
    rows: Math.min(step, rows - index * step),
    column,
    columns,
  }));
}

/**
 * Loads the blocks of `source` one after the other as `dtype`.
 * @throws InputError at a NaN, an infinity, or a value beyond the range of `dtype`
 */
export async function* loadBlocks(
  work: BlockBuffers,
  source: SourceTensor,
  from: FloatDType,
  to: EncodedDType,
  blocks: readonly Block[],
): AsyncGenerator<LoadedBlock> {
  const bufferBytes = byteLength('f32', work.elements);
  const start = (index: number) => {
    const block = blocks[index];
    if (block === undefined) return null;
    const address = work.readAddresses[index & 1] ?? 0;
    const reading = work.pending
      .ended(address, bufferBytes)
      .then(() => readBlock(work, source, from, block, address));
    reading.catch(() => {}); // it is awaited below, unless an earlier block failed
    return reading;
  };
  let reading = start(0);
  for (const [index, block] of blocks.entries()) {
    if (work.signal?.aborted) throw new InterruptedError();
    await reading;
    reading = start(index + 1);
    await work.pending.ended(work.floatAddress, bufferBytes);
    await work.pending.ended(work.convertedAddress, bufferBytes);
    const address = convertBlock(work, source, from, to, block, work.readAddresses[index & 1] ?? 0);
    const bytes = block.rows * byteLength(to, block.columns);
    yield { ...block, address, view: new Uint8Array(work.memory.buffer, address, bytes) };
  }
}

async function readBlock(
  work: BlockBuffers,
  source: SourceTensor,
  dtype: FloatDType,
  block: Block,
  address: number,
): Promise<void> {
  const width = source.shape.at(-1) ?? 1;
  const elementBytes = formats[dtype].blockBytes;
  const { row, rows, column, columns } = block;
  const target = new Uint8Array(work.memory.buffer, address, rows * columns * elementBytes);
  if (source.turned !== undefined) return readTurned(source.turned, block, target);
  if (columns === width) return source.read(row * width, rows * width, target);
  const rowBytes = columns * elementBytes;
  const indices = Array.from({ length: rows }, (_, index) => index);
  await forEachParallel(indices, stridedReads, (index) => {
    const part = target.subarray(index * rowBytes, (index + 1) * rowBytes);
    return source.read((row + index) * width + column, columns, part);
  });
}

/** Checks the block at `address` and converts it; returns the address of the result. */
function convertBlock(
  work: BlockBuffers,
  source: SourceTensor,
  from: FloatDType,
  to: EncodedDType,
  block: Block,
  address: number,
): number {
  const { kernels } = work;
  const count = block.rows * block.columns;
  const bad = kernels.byDType[from].firstNonFinite(address, count);
  if (bad >= 0) {
    throw new InputError(
      `not a finite number at index ${elementIndex(source, block, bad)}`,
      { file: source.file, tensor: source.name },
      'The checkpoint is damaged or was saved from a diverged run',
    );
  }
  if (from === to) return address;
  kernels.byDType[from].toF32(work.floatAddress, address, count);
  if (to === 'f32') return work.floatAddress;
  if (isQuantised(to)) {
    quantiseRows(work, to, block, work.convertedAddress, work.floatAddress);
    checkScales(work, source, to, block);
    return work.convertedAddress;
  }
  kernels.byDType[to].fromF32(work.convertedAddress, work.floatAddress, count);
  const overflow = kernels.byDType[to].firstNonFinite(work.convertedAddress, count);
  if (overflow >= 0) {
    throw new InputError(
      `the value at index ${elementIndex(source, block, overflow)} is too large for ${to}`,
      { file: source.file, tensor: source.name },
      'Convert with --dtype bf16 or --dtype f32',
    );
  }
  return work.convertedAddress;
}

/** @throws InputError where a block's scale is beyond the range of f16, in formats with f16 scales */
function checkScales(
  { kernels, convertedAddress }: BlockBuffers,
  source: SourceTensor,
  to: EncodedDType,
  block: Block,
): void {
  if (formats[to].neurons) return;
  const overflow = kernels.byDType[to].firstNonFinite(convertedAddress, block.rows * block.columns);
  if (overflow < 0) return;
  throw new InputError(
    `a value in the block of index ${elementIndex(source, block, overflow)} is too large for ${to}`,
    { file: source.file, tensor: source.name },
    'Convert with --dtype q8, bf16 or f32',
  );
}

/** Quantises the f32 rows at `from`; finite values give finite scales. */
export function quantiseRows(
  { kernels }: BlockBuffers,
  dtype: EncodedDType,
  { rows, columns }: Pick<Block, 'rows' | 'columns'>,
  to: number,
  from: number,
  strideBytes = byteLength(dtype, columns),
): void {
  const { fromF32 } = kernels.byDType[dtype];
  const fromBytes = byteLength('f32', columns);
  for (let row = 0; row < rows; row++) {
    fromF32(to + row * strideBytes, from + row * fromBytes, columns);
  }
}

function elementIndex(source: SourceTensor, block: Block, offset: number): string {
  const row = block.row + Math.floor(offset / block.columns);
  const column = block.column + (offset % block.columns);
  return source.shape.length > 1 ? `[${row}, ${column}]` : `[${column}]`;
}
