/**
 * The arithmetic of experts: each row of a batch adds what its own experts contribute, weighted. The
 * rows that share an expert are gathered and go through it together, so that it is read once; a row's
 * result depends on its own experts alone, in the order of their numbers.
 */

import type { FfnUnits } from '../flash/ffn-units.ts';
import type { Kernels } from '../kernels/kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import { computeRowUnits, type RowUnitPlace } from './row-units.ts';
import type { WeightSelection } from './selection.ts';

const f32Bytes = 4;

/** Besides what a unit needs, room for the rows that share it. */
export interface RoutedPlace extends RowUnitPlace {
  /** (chunk, hidden) each: what comes in, and what an expert makes of it. */
  readonly gathered: number;
  readonly contributed: number;
}

/** Addresses are in the memory where the experts lie. */
export interface RoutedTask {
  readonly units: FfnUnits;
  readonly selection: WeightSelection;
  readonly packed: boolean;
  readonly ffn: ModelSpec['ffn'];
  readonly hidden: number;
  /** (rows, hidden) */
  readonly x: number;
  /** (rows, hidden), to which the contributions are added */
  readonly y: number;
}

/**
 * y[row] += weight times the FFN of one expert, for each row that takes it.
 * @param expert one of the selection's units; in ascending order, for the result to be defined
 * @param address of the expert's first byte
 * @returns how many activations were not zero
 */
export function computeExpert(
  memory: WebAssembly.Memory,
  kernels: Kernels,
  place: RoutedPlace,
  { units, selection, packed, ffn, hidden, x, y }: RoutedTask,
  expert: number,
  address: number,
): number {
  const { gathered, contributed } = place;
  const { weights, count } = selection;
  const rowBytes = hidden * f32Bytes;
  const rows: number[] = [];
  for (let row = 0; row < selection.rows; row++) {
    if (weights[row * count + expert] === 0) continue;
    const target = gathered + rows.length * rowBytes;
    kernels.copyRows(target, x + row * rowBytes, 1, rowBytes, 0, 0);
    rows.push(row);
  }
  new Uint8Array(memory.buffer, contributed, rows.length * rowBytes).fill(0);
  const active = computeRowUnits(memory, kernels, place, {
    ...{ units, address, packed, unit: expert, ffn, hidden },
    x: gathered,
    y: contributed,
    bias: 0,
    gateBias: 0,
    positions: rows.length,
  });
  for (const [index, row] of rows.entries()) {
    const contribution = contributed + index * rowBytes;
    kernels.scale(contribution, hidden, weights[row * count + expert] ?? 0);
    kernels.add(y + row * rowBytes, contribution, hidden);
  }
  return active;
}
