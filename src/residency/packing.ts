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
 * Packs the first `count` rows of a matrix, or bundles, that lie at `address`, if their format has a
 * packed one and all of them are below 64.
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
  if (format.packedAs === null) return format;
  const layer = manifest.layers.find((each) => each.tensor === tensor.name);
  const columns = layer === undefined ? (tensor.shape[1] ?? 0) : manifest.spec.hiddenSize;
  const parts = layer === undefined ? 1 : layer.downOffset / format.rowBytes(columns) + 1;
  const { rowBytes } = rowsOf(tensor);
  const weights = (count * rowBytes) / format.rowBytes(1);
  if (packedF16.packable(address, weights) === 0) return format;
  packedF16.pack(address, count, rowBytes, parts, columns);
  return formats[format.packedAs];
}
