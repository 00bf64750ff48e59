/**
 * The arithmetic of merging: W + s B A in f32, by blocks of rows, while ranges of W are read. Memory holds
 * the factors of one matrix and one block:
 *
 *     block   up to 256 Ki values of W, f32
 *     stage   as many values as a file has them
 *     then, for each update of the matrix at hand:
 *     left    (rows, rank) s B; of an embedding (rank, rows) s A
 *     right   (rank, columns) A; of an embedding B, transposed
 */

import { byteLength, type FloatDType, floatDTypes } from '../../dtype.ts';
import { InputError } from '../../errors.ts';
import type { Kernels } from '../../kernels/kernels.ts';
import { instantiateKernels } from '../../kernels/module.ts';
import { createMemory } from '../../pages.ts';
import { alignUp, formatBytes, MIB } from '../../units.ts';
import { checkReadRange } from '../shape.ts';
import type { SourceTensor } from '../source.ts';

/** An update that is added to a matrix: `scale` times left times right. */
export interface Update {
  readonly rank: number;
  readonly scale: number;
  /** (rows, rank), or (rank, rows) of an `embedding`; null: a one, for vectors */
  readonly left: SourceTensor | null;
  /** (rank, columns), or (columns, rank) of an `embedding` */
  readonly right: SourceTensor;
  readonly embedding: boolean;
}

/** A tensor and the updates that are added to it; a vector is a matrix of one row. */
export interface Updated {
  readonly base: SourceTensor;
  readonly dtype: FloatDType;
  readonly updates: readonly Update[];
}

const blockElements = 256 * 1024;
/** Left free for the WebAssembly core. */
const blockAddress = 64 * 1024;
const stageAddress = blockAddress + byteLength('f32', blockElements);
const factorsAddress = stageAddress + byteLength('f32', blockElements);
const alignment = 16;
/** Far more than any adapter needs, and less than the largest WebAssembly memory. */
const mostBytes = 2048 * MIB;

/** @throws InputError when `tensor` does not hold floating-point numbers of a supported type */
export function floatDTypeOf(tensor: SourceTensor): FloatDType {
  const dtype = floatDTypes.find((known) => known === tensor.dtype);
  if (dtype !== undefined) return dtype;
  if (tensor.refusal !== undefined) throw tensor.refusal();
  throw new InputError(
    `dtype ${tensor.dtype} cannot be merged`,
    { file: tensor.file, tensor: tensor.name },
    `Supported: ${floatDTypes.join(', ')}`,
  );
}

interface Shape {
  readonly rows: number;
  readonly columns: number;
}

function shapeOf({ shape }: SourceTensor): Shape {
  const [rows = 1, columns = 1] = shape.length > 1 ? shape : [1, ...shape];
  return { rows, columns };
}

/** Addresses of the parts of an update, and of the next update. */
interface Placed {
  readonly left: number;
  readonly right: number;
  /** For an embedding: its factor as stored in the file. */
  readonly plain: number;
  readonly end: number;
}

function place({ rows, columns }: Shape, { rank, left, embedding }: Update, from: number): Placed {
  const after = (at: number, elements: number) => at + alignUp(4 * elements, alignment);
  const right = after(from, left === null ? 1 : rows * rank);
  const plain = after(right, rank * columns);
  return { left: from, right, plain, end: embedding ? after(plain, rank * columns) : plain };
}

function memoryBytes({ base, updates }: Updated): number {
  const shape = shapeOf(base);
  return updates.reduce((at, update) => place(shape, update, at).end, factorsAddress);
}

/** Merges several matrices while they are read, one at a time. */
export class Merger {
  /** Bytes of memory that merging takes from the first read on. */
  readonly bytes: number;
  #core: Promise<{ readonly memory: WebAssembly.Memory; readonly kernels: Kernels }> | null = null;
  #loaded: Updated | null = null;
  #turn: Promise<void> = Promise.resolve();

  /** @throws InputError when the factors of one of `matrices` are too large */
  constructor(matrices: Iterable<Updated>) {
    let bytes = 0;
    for (const matrix of matrices) {
      const needed = memoryBytes(matrix);
      if (needed > mostBytes) {
        const { file, name: tensor } = matrix.updates[0]?.right ?? matrix.base;
        throw new InputError(
          `its LoRA factors take ${formatBytes(needed)} of memory (at most ${formatBytes(mostBytes)})`,
          { file, tensor },
        );
      }
      bytes = Math.max(bytes, needed);
    }
    this.bytes = bytes;
  }

  /** `matrix` as a tensor of f32 values, merged while it is read. */
  tensor(matrix: Updated): SourceTensor {
    const { dtype } = matrix;
    const { blocks: _blocks, exactAs: _exact, ...base } = matrix.base;
    const { rows, columns } = shapeOf(base);
    const baseBytes = byteLength(dtype, 1);
    return {
      ...base,
      dtype: 'f32',
      keptAs: base.keptAs ?? base.dtype,
      read: async (start, count, target) => {
        checkReadRange(base.name, rows * columns, 4, start, count, target);
        if (count === 0) return;
        // 16-bit values are read into the end of the buffer and converted to f32 from its beginning on.
        const source = target.subarray(count * (4 - baseBytes));
        await base.read(start, count, source);
        await this.#inTurn(async () => {
          const { memory, kernels } = await this.#instance();
          if (this.#loaded !== matrix) await this.#load(matrix, memory, kernels);
          merge(matrix, memory, kernels, start, count, source, target);
        });
      },
    };
  }

  /** One read at a time: memory holds the factors and the block of one matrix. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #instance() {
    this.#core ??= (async () => {
      const memory = createMemory(this.bytes);
      return { memory, kernels: await instantiateKernels(memory) };
    })();
    return this.#core;
  }

  async #load(matrix: Updated, memory: WebAssembly.Memory, kernels: Kernels): Promise<void> {
    this.#loaded = null;
    const shape = shapeOf(matrix.base);
    let at = factorsAddress;
    for (const update of matrix.updates) {
      const { rank, scale, left, right, embedding } = update;
      const placed = place(shape, update, at);
      const lefts = left === null ? 1 : shape.rows * rank;
      if (left === null) new Float32Array(memory.buffer, placed.left, 1).fill(1);
      else await loadFactor(left, lefts, memory, kernels, placed.left);
      kernels.scale(placed.left, lefts, scale);
      const rights = rank * shape.columns;
      await loadFactor(right, rights, memory, kernels, embedding ? placed.plain : placed.right);
      if (embedding) {
        const { columns } = shape;
        const [from, to] = [placed.plain, placed.right];
        kernels.transpose32(to, from, columns, rank, 4 * rank, 4 * columns);
      }
      at = placed.end;
    }
    this.#loaded = matrix;
  }
}

/** Reads a factor as f32 to `address`. */
async function loadFactor(
  tensor: SourceTensor,
  elements: number,
  memory: WebAssembly.Memory,
  kernels: Kernels,
  address: number,
): Promise<void> {
  const dtype = floatDTypeOf(tensor);
  const { toF32, firstNonFinite } = kernels.byDType[dtype];
  for (let done = 0; done < elements; done += blockElements) {
    const count = Math.min(blockElements, elements - done);
    const bytes = byteLength(dtype, 1) * count;
    await tensor.read(done, count, new Uint8Array(memory.buffer, stageAddress, bytes));
    const bad = firstNonFinite(stageAddress, count);
    if (bad >= 0) {
      throw new InputError(
        `not a finite number at index ${done + bad}`,
        { file: tensor.file, tensor: tensor.name },
        'The adapter is damaged or was saved from a diverged run',
      );
    }
    toF32(address + 4 * done, stageAddress, count);
  }
}

/** Turns values [start, start + count) in `source`, of the matrix' dtype, into merged f32 in `target`. */
function merge(
  { base, dtype, updates }: Updated,
  memory: WebAssembly.Memory,
  kernels: Kernels,
  start: number,
  count: number,
  source: Uint8Array,
  target: Uint8Array,
): void {
  const shape = shapeOf(base);
  const baseBytes = byteLength(dtype, 1);
  const end = start + count;
  for (let at = start; at < end; ) {
    const { rows, columns } = rectangle(at, end, shape.columns);
    const elements = rows * columns;
    const done = at - start;
    const bytes = elements * baseBytes;
    new Uint8Array(memory.buffer, stageAddress, bytes).set(
      source.subarray(done * baseBytes, done * baseBytes + bytes),
    );
    kernels.byDType[dtype].toF32(blockAddress, stageAddress, elements);
    const row = Math.floor(at / shape.columns);
    const column = at % shape.columns;
    let factors = factorsAddress;
    for (const update of updates) {
      const { left, right, end: next } = place(shape, update, factors);
      const { rank, embedding } = update;
      const [rowStride, columnStride] = embedding ? [1, shape.rows] : [rank, 1];
      kernels.gemm(
        blockAddress,
        left + 4 * row * rowStride,
        right + 4 * column,
        rows,
        columns,
        rank,
        rowStride,
        columnStride,
        shape.columns,
        columns,
        1,
      );
      factors = next;
    }
    target.set(new Uint8Array(memory.buffer, blockAddress, 4 * elements), 4 * done);
    at += elements;
  }
}

/**
 * The part of [at, end) that is merged at once: whole rows, in multiples of four for the kernel, or a part
 * of one row.
 */
function rectangle(at: number, end: number, width: number): Shape {
  const inRow = Math.min(width - (at % width), end - at);
  if (inRow < width || width > blockElements) {
    return { rows: 1, columns: Math.min(inRow, blockElements) };
  }
  const rows = Math.min(Math.floor((end - at) / width), Math.floor(blockElements / width));
  return { rows: rows > 4 ? rows - (rows % 4) : rows, columns: width };
}
