/**
 * The arithmetic of units whose down projection lies untransposed: tiles of a dense FFN, and experts.
 * A unit adds to the output what its k neurons contribute; units are added one after the other in
 * their order, so that the result is the same to the bit wherever they come from.
 */

import { formats } from '../dtype.ts';
import { type FfnUnits, partOf, type UnitPart } from '../flash/ffn-units.ts';
import { activationCodes } from '../kernels/constants.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { matmulOf } from '../kernels/weight-kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import { activationValues } from '../plan/activations.ts';
import type { NeuronHook } from './ffn-hook.ts';

const f32Bytes = 4;

/** What the kernels of a memory need for a unit. */
export interface RowUnitPlace {
  readonly chunk: number;
  /** (activationValues) each: activations, and gates where there are any. */
  readonly neurons: number;
  readonly gates: number;
  /** (chunk, hidden): zeros, and zeros again afterwards. */
  readonly sums: number;
  readonly scratch: number;
}

/** One unit; addresses are in the memory where it lies. */
export interface RowUnitTask {
  readonly units: FfnUnits;
  /** Of the unit's first byte. */
  readonly address: number;
  readonly packed: boolean;
  /** Which one it is. */
  readonly unit: number;
  readonly ffn: ModelSpec['ffn'];
  readonly hidden: number;
  /** (positions, hidden) */
  readonly x: number;
  /** (positions, hidden), to which the contributions are added */
  readonly y: number;
  /** (k) each, or 0: of up rows, and of gates. */
  readonly bias: number;
  readonly gateBias: number;
  readonly positions: number;
  readonly hook?: NeuronHook | undefined;
  /** Whether products are in f32 whatever the formats; false unless given. */
  readonly exact?: boolean;
}

/**
 * y += down(act(up x + bias)), or the like with gates.
 * @returns how many activations were not zero
 */
export function computeRowUnit(
  memory: WebAssembly.Memory,
  kernels: Kernels,
  place: RowUnitPlace,
  task: RowUnitTask,
): number {
  const { units, unit, hidden, positions } = task;
  const { neurons, sums } = place;
  const { k } = units;
  const atOnce = Math.floor(activationValues(place.chunk, k) / k);
  let active = 0;
  for (let first = 0; first < positions; first += atOnce) {
    const count = Math.min(atOnce, positions - first);
    const x = task.x + first * hidden * f32Bytes;
    activate(kernels, place, task, x, count);
    const block = { memory, address: neurons, stride: k, first: unit * k, count: k };
    task.hook?.activations({ ...block, position: first, positions: count });
    const y = task.y + first * hidden * f32Bytes;
    multiply(kernels, place, task, { part: partNamed(units, 'down'), y: sums, x: neurons }, count);
    kernels.add(y, sums, count * hidden);
    active += kernels.countActive(neurons, count * k);
  }
  new Uint8Array(memory.buffer, sums, Math.min(atOnce, positions) * hidden * f32Bytes).fill(0);
  return active;
}

/** neurons = act(up x + bias), or act(gate x + gateBias) times (act of) that: (positions, k). */
function activate(
  kernels: Kernels,
  place: RowUnitPlace,
  task: RowUnitTask,
  x: number,
  positions: number,
): void {
  const { units, ffn, bias, gateBias } = task;
  const { neurons, gates } = place;
  const values = positions * units.k;
  const code = activationCodes[ffn.activation];
  const up = partNamed(units, 'up');
  const { clamped } = ffn;
  const plain = positions === 1 && bias === 0 && gateBias === 0 && clamped === undefined;
  const gateAndUp = plain ? stacked(units) : null;
  if (gateAndUp !== null && 2 * units.k <= activationValues(place.chunk, units.k)) {
    // One call for both: their rows lie together, and so do their values where there is one position.
    multiply(kernels, place, task, { part: gateAndUp, y: neurons, x }, positions);
    const ups = neurons + units.k * f32Bytes;
    if (ffn.gate === 'both') kernels.activation(ups, units.k, code, ffn.threshold);
    kernels.activation(neurons, units.k, code, ffn.threshold);
    kernels.multiply(neurons, ups, units.k);
    return;
  }
  multiply(kernels, place, task, { part: up, y: neurons, x, bias }, positions);
  const activated = ffn.gate === 'none' || ffn.gate === 'both';
  if (activated) kernels.activation(neurons, values, code, ffn.threshold);
  if (ffn.gate === 'none') return;
  const gate = partNamed(units, 'gate');
  multiply(kernels, place, task, { part: gate, y: gates, x, bias: gateBias }, positions);
  if (clamped !== undefined) {
    kernels.clampedGate(neurons, gates, values, clamped.limit, clamped.steepness);
    return;
  }
  kernels.activation(gates, values, code, ffn.threshold);
  kernels.multiply(neurons, gates, values);
}

/** y = part x + bias for `positions` rows; both packed, f32. */
function multiply(
  kernels: Kernels,
  { scratch }: RowUnitPlace,
  { address, packed, exact = false }: RowUnitTask,
  call: { readonly part: UnitPart; readonly y: number; readonly x: number; readonly bias?: number },
  positions: number,
): void {
  const { part, y, x, bias = 0 } = call;
  const [rows, columns] = part.shape;
  const format = formats[part.dtype];
  const inMemory = packed && format.packedAs !== null ? formats[format.packedAs] : format;
  const matmul = matmulOf(kernels, inMemory, exact);
  const w = address + part.offset;
  matmul(y, x, w, bias, rows, columns, positions, columns, rows, scratch);
}

/** Gate and up rows as one matrix, where they are in one format; null where they are not. */
function stacked(units: FfnUnits): UnitPart | null {
  const gate = partOf(units, 'gate');
  const up = partNamed(units, 'up');
  if (gate?.dtype !== up.dtype) return null;
  return { ...gate, shape: [gate.shape[0] + up.shape[0], up.shape[1]] };
}

function partNamed(units: FfnUnits, name: UnitPart['part']): UnitPart {
  const found = partOf(units, name);
  if (found === undefined) throw new Error(`units of ${units.tensor} have no ${name}`);
  return found;
}
