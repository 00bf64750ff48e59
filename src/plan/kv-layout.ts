/**
 * The KV cache in pages. Per layer, one row per position that fits:
 *
 *     | keys: page 0 | page 1 | ... | values: page 0 | page 1 | ... |
 *
 * The tables of the sequences' pages lie before the layers; a page that two sequences share is stored once. A
 * table that describes a batch's rows to attention lies beside them.
 */

import { byteLength, type KvDType } from '../dtype.ts';
import { kernelSizes } from '../kernels/constants.ts';
import type { ModelSpec } from '../models/spec.ts';
import { alignUp } from '../units.ts';

/** Positions of a page. */
export const { pagePositions } = kernelSizes;

const u32Bytes = 4;

/** The sizes that the cache is made for. */
export interface KvSizes {
  /** The longest sequence. */
  readonly context: number;
  /** Sequences that may be open at once. */
  readonly sequences: number;
  /** Positions of all of them together. */
  readonly positions: number;
  readonly dtype: KvDType;
  /** Rows of a batch. */
  readonly chunk: number;
  /**
   * Layers whose keys and values are stored at once; fewer than the model's where one layer runs at a time.
   */
  readonly layers: number;
}

export interface KvLayout {
  readonly dtype: KvDType;
  readonly sequences: number;
  readonly positions: number;
  /** Pages that sequences share among them. */
  readonly pages: number;
  /**
   * Address of layer 0, and the distance from one layer to the next; 0 where all layers use the same memory.
   */
  readonly address: number;
  readonly layerBytes: number;
  /** Distance from a layer's keys to its values. */
  readonly valuesOffset: number;
  /** u32 (sequences, pagesPerSequence): the pages of each. */
  readonly tables: number;
  readonly pagesPerSequence: number;
  /** u32 (chunk, 2): of each row of a batch, the address of its table and its position. */
  readonly rows: number;
  /** Bytes of keys and values, and of the whole layout. */
  readonly cacheBytes: number;
  readonly bytes: number;
}

/** Bytes of keys and values of one position in one layer. */
export function kvRowBytes({ attention }: Pick<ModelSpec, 'attention'>, dtype: KvDType): number {
  return 2 * byteLength(dtype, attention.kvHeads * attention.headDim);
}

/**
 * The number of pages that always suffices for sequences with `positions` positions together: each sequence
 * may end within a page.
 */
export function pagesFor(positions: number, sequences: number): number {
  return Math.floor((positions + sequences * (pagePositions - 1)) / pagePositions);
}

/** Rows per layer. A single sequence needs only as many rows as positions: its last page may be shorter. */
function rowsFor({ positions, sequences }: Pick<KvSizes, 'positions' | 'sequences'>): number {
  return sequences === 1 ? positions : pagesFor(positions, sequences) * pagePositions;
}

/** Bytes of keys and values in all layers. */
export function kvCacheBytes(
  spec: Pick<ModelSpec, 'attention'>,
  sizes: Pick<KvSizes, 'positions' | 'sequences' | 'dtype' | 'layers'>,
): number {
  return sizes.layers * rowsFor(sizes) * kvRowBytes(spec, sizes.dtype);
}

/** Lays out the cache from `address` on, which must be aligned. */
export function layoutKv(
  spec: Pick<ModelSpec, 'attention' | 'layers'>,
  sizes: KvSizes,
  address: number,
): KvLayout {
  const { context, sequences, positions, dtype, chunk, layers } = sizes;
  const cacheBytes = kvCacheBytes(spec, sizes);
  const pagesPerSequence = Math.ceil(context / pagePositions);
  const tables = alignUp(address + cacheBytes, 64);
  const rows = tables + u32Bytes * sequences * pagesPerSequence;
  const layerBytes = cacheBytes / layers;
  return {
    ...{ dtype, sequences, positions, address, tables, pagesPerSequence, rows, cacheBytes },
    pages: pagesFor(positions, sequences),
    layerBytes: layers < spec.layers ? 0 : layerBytes,
    valuesOffset: layerBytes / 2,
    bytes: rows + 2 * u32Bytes * chunk - address,
  };
}
