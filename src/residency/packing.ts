/** f16 that stays in memory is packed: where it lies, in bundles or in rows. */

import { byteLength } from '../dtype.ts';
import { type Manifest, rowsOf, type StoredTensor } from '../flash/manifest.ts';
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
 * Packs the first `count` rows of a matrix, or units, that lie at `address`, if they are f16 and
 * all below 64.
 * @returns whether they are packed now
 */
export function packInPlace(
  { kernels: { packedF16 } }: WeightMemory,
  { ffns }: Pick<Manifest, 'ffns'>,
  tensor: StoredTensor,
  address: number,
  count: number,
): boolean {
  const units = ffns.flat().find((each) => each.tensor === tensor.name);
  const row = { dtype: tensor.dtype, offset: 0, shape: [1, tensor.shape[1] ?? 0] } as const;
  const parts = units?.parts ?? [row];
  if (parts.some(({ dtype }) => dtype !== 'f16')) return false;
  const { rowBytes } = rowsOf(tensor);
  if (packedF16.packable(address, (count * rowBytes) / byteLength('f16', 1)) === 0) return false;
  for (const {
    offset,
    shape: [rows, columns],
  } of parts) {
    packedF16.pack(address + offset, count, rowBytes, rows, columns);
  }
  return true;
}
