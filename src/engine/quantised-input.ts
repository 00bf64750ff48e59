/**
 * The input of products in formats whose activations are rounded to 8 bits: quantised once for all products
 * that share it, whichever threads compute them.
 */

import type { Format, FormatName } from '../dtype.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { quantisedBytes, quantiseOf } from '../kernels/weight-kernels.ts';
import type { QuantisedRoom } from '../plan/activations.ts';

/** Rows of x as products in one format take them. */
export interface QuantisedInput {
  readonly format: FormatName;
  readonly address: number;
}

/** (positions, columns) f32. */
export interface PlainInput {
  readonly x: number;
  readonly columns: number;
  readonly positions: number;
}

/**
 * Quantises x for products in `format`. Does nothing and returns null where these take f32, or where there is
 * no room.
 */
export function quantiseInput(
  kernels: Kernels,
  room: QuantisedRoom | null,
  format: Format,
  { x, columns, positions }: PlainInput,
  exact: boolean,
): QuantisedInput | null {
  if (room === null || quantisedBytes(columns, positions) > room.bytes) return null;
  const quantise = quantiseOf(kernels, format, exact);
  if (quantise === null) return null;
  quantise(room.address, x, columns, positions, columns);
  return { format: format.name, address: room.address };
}

/** The arguments of a product in `format` for x: its address, and whether it is quantised. */
export function inputOf(
  format: Format,
  x: number,
  quantised: QuantisedInput | null,
): readonly [address: number, quantised: 0 | 1] {
  return quantised?.format === format.name ? [quantised.address, 1] : [x, 0];
}
