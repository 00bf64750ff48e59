/** Packs resident weights in place, in bundles or in rows, if their format can be packed. */

import { type Format, formats, inFours, packedFormat } from '../dtype.ts';
import { type Manifest, rowsOf, type StoredTensor, weightFormat } from '../flash/manifest.ts';
import type { Kernels } from '../kernels/kernels.ts';

/** A memory of the plan and its kernels. */
export interface WeightMemory {
  readonly memory: WebAssembly.Memory;
  readonly kernels: Pick<Kernels, 'packedF16' | 'fours'>;
  /** Scratch of kernels, for rows of any tensor. */
  readonly scratch: number;
  /** Whether products are in f32 whatever the format: blocks of GGUF files then stay as stored. */
  readonly exact: boolean;
}

/** How rows lie in memory. */
export interface Arrangement {
  /** Of the matrix, or of the first part of units. */
  readonly format: Format;
  /** Whether all parts that have a packed format are in it. */
  readonly packed: boolean;
  /** How many rows or units, from the first on, are packed; the others stay as they were read. */
  readonly rows: number;
}

/** One of the plan's memories: 0 is the first, then its arenas. */
export function memoryOf<Memory>(memories: readonly Memory[], arena: number): Memory {
  const found = memories[arena];
  if (found === undefined) throw new Error(`the plan has no arena ${arena}`);
  return found;
}

/** Rows that are interleaved in the formats that store four rows together. */
const fourRows = 4;

/**
 * Packs the first `count` rows of a matrix, or units, that lie at `address`, if their formats have
 * packed ones: f16 if all of them are below 64 and all parts of a unit are f16, blocks of GGUF files
 * four rows at a time, so that up to three rows of a matrix may be left.
 */
export function packInPlace(
  memory: WeightMemory,
  manifest: Manifest,
  tensor: StoredTensor,
  address: number,
  count: number,
): Arrangement {
  const format = weightFormat(tensor, manifest);
  const units = manifest.ffns.flat().find((each) => each.tensor === tensor.name);
  const { rowBytes } = rowsOf(tensor);
  const asRead = { format, packed: false, rows: count };
  const parts = units?.parts ?? [];
  const wanted = parts.length === 0 ? [format] : parts.map(({ dtype }) => formats[dtype]);
  const packedAs = wanted.map(packedFormat).filter(({ packed }) => packed);
  if (packedAs.length === 0) return asRead;
  if (packedAs.every(inFours)) {
    if (memory.exact || parts.some(({ shape }) => shape[0] % fourRows !== 0)) return asRead;
    if (units === undefined) return packRows(memory, tensor, format, address, count);
    for (let unit = 0; unit < count; unit++) {
      for (const { dtype, offset, shape } of parts) {
        const at = address + unit * rowBytes + offset;
        packPart(memory, formats[dtype], at, shape[0], shape[1]);
      }
    }
  } else {
    const row = { offset: 0, shape: [1, tensor.shape[1] ?? 0] } as const;
    if (wanted.some(({ name }) => name !== format.name)) return asRead;
    const { packable, pack } = memory.kernels.packedF16;
    if (packable(address, (count * rowBytes) / format.rowBytes(1)) === 0) return asRead;
    for (const { offset, shape } of units?.parts ?? [row]) {
      pack(address + offset, count, rowBytes, shape[0], shape[1]);
    }
  }
  return { format: packedFormat(format), packed: true, rows: count };
}

/** Packs a matrix four rows at a time. */
function packRows(
  memory: WeightMemory,
  tensor: StoredTensor,
  format: Format,
  address: number,
  count: number,
): Arrangement {
  const rows = count - (count % fourRows);
  const packed = packPart(memory, format, address, rows, tensor.shape[1] ?? 0);
  return { format: packed, packed: true, rows };
}

/** @returns the format that rows are in now */
function packPart(
  { kernels, scratch }: WeightMemory,
  format: Format,
  address: number,
  rows: number,
  columns: number,
): Format {
  const packed = packedFormat(format);
  if (inFours(packed)) kernels.fours[packed.name].packRows(address, rows, columns, scratch);
  return packed;
}
