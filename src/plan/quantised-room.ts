/** Room for the input of products, which is quantised once for all of them that share it. */

import type { Manifest } from '../flash/manifest.ts';
import { quantisedBytes, quantisesInput } from '../kernels/weight-kernels.ts';
import { widestRow } from './activations.ts';

/** Bytes for `chunk` rows of what a model's matrices are multiplied with; 0 where nothing is quantised. */
export function quantisedRoomBytes({ spec, tensors, ffns }: Manifest, chunk: number): number {
  const parts = ffns.flat().flatMap((units) => units.parts);
  const used = [...tensors.values(), ...parts].some(
    ({ dtype }) => dtype !== 'u8' && quantisesInput(dtype),
  );
  return used ? quantisedBytes(widestRow(spec), chunk) : 0;
}
