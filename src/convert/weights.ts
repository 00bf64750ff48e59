/** The bytes of each tensor of the model directory, made from checkpoint tensors block by block. */

import type { SourceTensor } from '../checkpoint/source.ts';
import {
  byteLength,
  type DType,
  type FloatDType,
  formats,
  isEncodedDType,
  isNeuronDType,
  isQuantised,
} from '../dtype.ts';
import {
  type FfnUnits,
  type NeuronGeometry,
  neuronGeometry,
  usedBytes,
} from '../flash/ffn-units.ts';
import { type BundleRecipe, bundleRows, type TensorRecipe } from '../models/spec.ts';
import { alignUp } from '../units.ts';
import {
  type Block,
  type BlockBuffers,
  type LoadedBlock,
  loadBlocks,
  quantiseRows,
  rowBlocks,
  widestBlock,
} from './blocks.ts';
import type { Rotation } from './pending-writes.ts';
import { copyBlocks, type StoredPiece, storedRows } from './stored-blocks.ts';

/** A checkpoint tensor whose shape and dtype have been checked. */
export interface CheckedSource {
  readonly tensor: SourceTensor;
  readonly dtype: FloatDType;
}

export type Sources = (name: string) => CheckedSource;

const f32Bytes = 4;

/** Moves blocks down by `rows`. */
const below =
  (rows: number) =>
  (block: Block): Block => ({ ...block, row: block.row + rows });

/** A rectangle of a matrix, and the dtype that it becomes. */
export interface WantedRows<T> {
  readonly source: CheckedSource;
  readonly dtype: DType;
  readonly block: Block;
  /** Purpose of the rectangle; passed on with each of its blocks. */
  readonly of: T;
}

/**
 * Loads rectangles one after the other, each as its `dtype`: blocks that the file already has in this dtype
 * are copied, with read-ahead from one rectangle to the next; all others are converted.
 */
export async function* loadRows<T>(
  work: BlockBuffers,
  wanted: readonly WantedRows<T>[],
): AsyncGenerator<LoadedBlock & { readonly of: T }> {
  for (let at = 0; at < wanted.length; ) {
    const copied: (StoredPiece & { readonly of: T })[] = [];
    for (; at < wanted.length; at++) {
      const stored = storedPieces(work, wanted[at] as WantedRows<T>);
      if (stored === null) break;
      copied.push(...stored);
    }
    let index = 0;
    for await (const block of copyBlocks(work, copied)) {
      yield { ...block, of: (copied[index++] as { readonly of: T }).of };
    }
    const next = wanted[at++];
    if (next === undefined) return;
    const { source, dtype, of } = next;
    const { tensor, dtype: from } = source;
    if (!isEncodedDType(dtype)) throw new Error(`${tensor.name} cannot become ${dtype}`);
    const { row, rows, column, columns } = next.block;
    const blocks = rowBlocks(work, rows, column, columns).map(below(row));
    for await (const block of loadBlocks(work, tensor, from, dtype, blocks)) yield { ...block, of };
  }
}

/** The blocks of a rectangle that are copied; null if it is converted. */
function storedPieces<T>(
  work: BlockBuffers,
  { source: { tensor }, dtype, block, of }: WantedRows<T>,
): (StoredPiece & { readonly of: T })[] | null {
  const { blocks } = tensor;
  if (blocks?.dtype !== dtype) return null;
  return storedRows(work, dtype, block.rows, block.column, block.columns)
    .map(below(block.row))
    .map((rectangle) => ({ tensor, blocks, rectangle, of }));
}

/** A vector or a matrix: its parts stacked along the rows. */
export async function* tensorBytes(
  work: BlockBuffers,
  recipe: TensorRecipe,
  dtype: DType,
  sources: Sources,
): AsyncGenerator<Uint8Array> {
  const wanted = recipe.parts.map(({ source, shape, rows, plus }) => {
    const { first, count } = rows ?? { first: 0, count: shape[0] ?? 1 };
    const block =
      shape.length > 1
        ? { row: first, rows: count, column: 0, columns: shape.at(-1) ?? 1 }
        : { row: 0, rows: 1, column: first, columns: count };
    return { source: sources(source), dtype, block, of: plus };
  });
  for await (const { view, of: plus } of loadRows(work, wanted)) {
    if (plus !== undefined) {
      const values = new Float32Array(view.buffer, view.byteOffset, view.length / f32Bytes);
      for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) + plus;
    }
    yield view;
  }
}

/** Memory in which units are assembled before they are written. */
export interface Strips {
  /** One strip, or two, so that one can be filled while the other is written. */
  readonly places: Rotation;
  /** Of each. */
  readonly bytes: number;
}

/** The bytes of an FFN's units, one after the other. */
export function unitBytes(
  work: BlockBuffers,
  recipe: BundleRecipe,
  units: FfnUnits,
  sources: Sources,
  strips: Strips,
): AsyncGenerator<Uint8Array> {
  const geometry = neuronGeometry(units);
  return geometry === null
    ? tileBytes(work, recipe, units, sources, strips)
    : bundleBytes(work, recipe, { ...geometry, ...units }, sources, strips);
}

/**
 * Tiles of k neurons, in strips of tiles that fit the given memory: rows are copied in order, and from each
 * row of the down projection the k values that belong to a tile.
 *
 *   gate, up (neurons, hidden)   rows [n0, n1)      copied to  tile + offset of the part
 *   down     (hidden, neurons)   columns [n0, n1)   row by row to tile + downOffset
 */
async function* tileBytes(
  work: BlockBuffers,
  recipe: BundleRecipe,
  { k, count: tiles, unitBytes: stride, parts }: FfnUnits,
  sources: Sources,
  strips: Strips,
): AsyncGenerator<Uint8Array> {
  const { kernels, memory, elements } = work;
  const hidden = recipe.hiddenSize;
  const rowElements = alignUp(k, widestBlock);
  const used = usedBytes({ parts });
  const atOnce = Math.min(Math.floor(strips.bytes / stride), Math.floor(elements / rowElements));
  for (let first = 0; first < tiles; first += Math.max(1, atOnce)) {
    const count = Math.min(Math.max(1, atOnce), tiles - first);
    const strip = await strips.places.next();
    const view = new Uint8Array(memory.buffer, strip, count * stride);
    for (let end = stride; end <= view.length; end += stride) {
      view.fill(0, end - stride + used, end);
    }
    const wanted = parts.map(({ part, dtype, offset, shape }) => {
      const isDown = part === 'down';
      const block = isDown
        ? { row: 0, rows: hidden, column: first * k, columns: count * k }
        : { row: first * k, rows: count * k, column: 0, columns: hidden };
      const rowBytes = byteLength(dtype, shape[1]);
      return {
        source: sources(recipe[part] ?? ''),
        dtype,
        block,
        of: { isDown, offset, rowBytes },
      };
    });
    for await (const { address, row, rows, of } of loadRows(work, wanted)) {
      const { isDown, offset, rowBytes } = of;
      if (isDown) {
        for (let tile = 0; tile < count; tile++) {
          const target = strip + tile * stride + offset + row * rowBytes;
          const source = address + tile * rowBytes;
          kernels.copyRows(target, source, rows, rowBytes, count * rowBytes, rowBytes);
        }
        continue;
      }
      for (let done = 0; done < rows; ) {
        const place = row + done - first * k;
        const n = Math.min(k - (place % k), rows - done);
        const target = strip + Math.floor(place / k) * stride + offset + (place % k) * rowBytes;
        // They are contiguous in source and target: copy one row of all their bytes.
        const bytes = n * rowBytes;
        kernels.copyRows(target, address + done * rowBytes, 1, bytes, bytes, bytes);
        done += n;
      }
    }
    yield view;
  }
}

/**
 * A layer's bundles, in strips of neurons that fit the given memory:
 *
 *   gate (neurons, hidden)   rows [n0, n1)      copied to  bundle + 0, if there is one
 *   up   (neurons, hidden)   rows [n0, n1)      copied to  bundle + upOffset
 *   down (hidden, neurons)   columns [n0, n1)   transposed bundle + downOffset
 *
 * In quantised formats, down columns are converted through f32, in whole blocks of the hidden dimension.
 *
 * When a layer fits as a whole, all matrices are read in one sweep; otherwise the down projection
 * is read in as many column strips, each in runs of the strip's width.
 */
async function* bundleBytes(
  work: BlockBuffers,
  recipe: BundleRecipe,
  units: FfnUnits & NeuronGeometry,
  sources: Sources,
  strips: Strips,
): AsyncGenerator<Uint8Array> {
  const { kernels, memory, convertedAddress } = work;
  const { bundleBytes: stride, downOffset, count: neurons, parts } = units;
  const dtype = parts[0]?.dtype ?? 'f32';
  if (!isNeuronDType(dtype)) throw new Error(`bundles cannot be in ${dtype}`);
  const hidden = recipe.hiddenSize;
  const { blockBytes, blockElements } = formats[dtype];
  const rowBytes = byteLength(dtype, hidden);
  const down = sources(recipe.down);
  const { turned } = down.tensor;
  const stripNeurons = Math.min(
    neurons,
    Math.floor(strips.bytes / stride),
    Math.floor(work.elements / blockElements),
  );
  const padding = stride - downOffset - rowBytes;

  for (let first = 0; first < neurons; first += stripNeurons) {
    const count = Math.min(stripNeurons, neurons - first);
    const strip = await strips.places.next();
    const view = new Uint8Array(memory.buffer, strip, count * stride);
    if (padding > 0) view.fill(0);
    const copied = bundleRows(recipe).map((name, index) => ({
      ...sources(name),
      offset: index * rowBytes,
    }));
    // A transposed matrix also has a row for each neuron.
    if (turned !== undefined)
      copied.push({ tensor: turned, dtype: down.dtype, offset: downOffset });
    for (const { tensor, dtype: from, offset } of copied) {
      const rows = rowBlocks(work, count, 0, hidden).map(below(first));
      for await (const block of loadBlocks(work, tensor, from, dtype, rows)) {
        const target = strip + (block.row - first) * stride + offset;
        kernels.copyRows(target, block.address, block.rows, rowBytes, rowBytes, stride);
      }
    }
    if (turned !== undefined) {
      yield view;
      continue;
    }
    const downColumns = rowBlocks(work, hidden, first, count, blockElements);
    const loadedAs = isQuantised(dtype) ? 'f32' : dtype;
    for await (const block of loadBlocks(work, down.tensor, down.dtype, loadedAs, downColumns)) {
      const target = strip + downOffset + byteLength(dtype, block.row);
      if (isQuantised(dtype)) {
        const columns = { rows: count, columns: block.rows };
        const columnBytes = byteLength('f32', block.rows);
        kernels.transpose32(
          convertedAddress,
          block.address,
          block.rows,
          count,
          byteLength('f32', count),
          columnBytes,
        );
        quantiseRows(work, dtype, columns, target, convertedAddress, stride);
      } else {
        const transpose = blockBytes === 4 ? kernels.transpose32 : kernels.transpose16;
        transpose(target, block.address, block.rows, count, count * blockBytes, stride);
      }
    }
    yield view;
  }
}
