/** The buffer for the quantised input of products, which is quantised once for all products that share it. */

import type { Manifest } from '../flash/manifest.ts';
import { quantisedBytes, quantisesInput } from '../kernels/weight-kernels.ts';
import { widestRow } from './activations.ts';

/** Bytes for `chunk` rows of the quantised input of a model's matrices; 0 where no input is quantised. */
export function quantisedRoomBytes({ spec, tensors, ffns }: Manifest, chunk: number): number {
  const parts = ffns.flat().flatMap((units) => units.parts);
  const used = [...tensors.values(), ...parts].some(
    ({ dtype }) => dtype !== 'u8' && quantisesInput(dtype),
  );
  return used ? quantisedBytes(widestRow(spec), chunk) : 0;
}
