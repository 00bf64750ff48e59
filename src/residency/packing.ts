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
 * Packs the first `count` rows of a matrix, or bundles, that lie at `address`, if they are f16 and
 * all below 64.
 * @returns whether they are packed now
 */
export function packInPlace(
  { kernels: { packedF16 } }: WeightMemory,
  { layers, dtypes, spec }: Manifest,
  tensor: StoredTensor,
  address: number,
  count: number,
): boolean {
  const layer = layers.find((each) => each.tensor === tensor.name);
  if ((layer === undefined ? tensor.dtype : dtypes.bundles) !== 'f16') return false;
  const columns = layer === undefined ? (tensor.shape[1] ?? 0) : spec.hiddenSize;
  const parts = layer === undefined ? 1 : layer.downOffset / byteLength('f16', columns) + 1;
  const { rowBytes } = rowsOf(tensor);
  if (packedF16.packable(address, (count * rowBytes) / byteLength('f16', 1)) === 0) return false;
  packedF16.pack(address, count, rowBytes, parts, columns);
  return true;
}
