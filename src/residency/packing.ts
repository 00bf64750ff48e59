/** Weights that stay in memory are packed, if their format can be: where they lie, in bundles or in rows. */

import { type Format, formats } from '../dtype.ts';
import { type Manifest, rowsOf, type StoredTensor, weightFormat } from '../flash/manifest.ts';
import type { Kernels } from '../kernels/kernels.ts';

/** A memory of the plan and what computes there. */
export interface WeightMemory {
  readonly memory: WebAssembly.Memory;
  readonly kernels: Pick<Kernels, 'packedF16'>;
}

/** One of the plan's memories: 0 is the first, then its arenas. */
export function memoryOf(memories: readonly WeightMemory[], arena: number): WeightMemory {
  const found = memories[arena];
  if (found === undefined) throw new Error(`the plan has no arena ${arena}`);
  return found;
}

/**
 * Packs the first `count` rows of a matrix, or units, that lie at `address`, if the formats of all their
 * parts have packed ones and all of them are below 64.
 * @returns the format they have now
 */
export function packInPlace(
  { kernels: { packedF16 } }: WeightMemory,
  manifest: Manifest,
  tensor: StoredTensor,
  address: number,
  count: number,
): Format {
  const format = weightFormat(tensor, manifest);
  const units = manifest.ffns.flat().find((each) => each.tensor === tensor.name);
  const row = { dtype: format.name, offset: 0, shape: [1, tensor.shape[1] ?? 0] } as const;
  const parts = units?.parts ?? [row];
  const { packedAs } = format;
  if (packedAs === null || parts.some(({ dtype }) => dtype !== format.name)) return format;
  const { rowBytes } = rowsOf(tensor);
  const weights = (count * rowBytes) / format.rowBytes(1);
  if (packedF16.packable(address, weights) === 0) return format;
  for (const { offset, shape } of parts) {
    const [rows, columns] = shape;
    packedF16.pack(address + offset, count, rowBytes, rows, columns);
  }
  return formats[packedAs];
}
