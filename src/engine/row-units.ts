/**
 * The arithmetic of units whose down projection is stored untransposed: tiles of a dense FFN, and experts. A
 * unit adds the contributions of its k neurons to the output; units are added one after the other in their
 * order, so that the result is the same to the bit wherever they come from.
 */

import { type Format, formats, packedFormat } from '../dtype.ts';
import { type FfnUnits, partOf, type UnitPart } from '../flash/ffn-units.ts';
import { activationCodes } from '../kernels/constants.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { matmulOf, productKernels, quantiseOf } from '../kernels/weight-kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import { activationValues } from '../plan/activations.ts';
import type { NeuronHook } from './ffn-hook.ts';
import { inputOf, type QuantisedInput } from './quantised-input.ts';
import { vectorFrom } from './vector-from.ts';

const f32Bytes = 4;

/** The buffers that the kernels of a memory need for a unit. */
export interface RowUnitPlace {
  readonly chunk: number;
  /** (activationValues) each: activations, and gates where there are any. */
  readonly neurons: number;
  readonly gates: number;
  /** (chunk, hidden): zeros before and after each call. */
  readonly sums: number;
  readonly scratch: number;
}

/** Units that lie one after the other; addresses are in the memory where they lie. */
export interface RowUnitTask {
  readonly units: FfnUnits;
  /** Of the first unit's first byte. */
  readonly address: number;
  readonly packed: boolean;
  /** Number of the first unit. */
  readonly unit: number;
  /** How many there are, at most {@link unitsAtOnce}; 1 unless given. */
  readonly count?: number;
  readonly ffn: ModelSpec['ffn'];
  readonly hidden: number;
  /** (positions, hidden) */
  readonly x: number;
  /** (positions, hidden), to which the contributions are added, or which they become. */
  readonly y: number;
  /** Whether a single unit's contribution overwrites y; false unless given. */
  readonly alone?: boolean;
  /** (count, k) each, or 0: of up rows, and of gates. */
  readonly bias: number;
  readonly gateBias: number;
  readonly positions: number;
  readonly hook?: NeuronHook | undefined;
  /** Whether products are in f32 whatever the formats; false unless given. */
  readonly exact?: boolean;
  /** x, all positions of it, as products in {@link inputFormat} take it; null unless given. */
  readonly quantised?: QuantisedInput | null;
}

/** The format of the parts that x is multiplied with; that of gates, if it differs. */
export function inputFormat(units: FfnUnits, packed: boolean): Format {
  const part = partOf(units, 'gate') ?? partOf(units, 'up');
  if (part === undefined) throw new Error(`units of ${units.tensor} have no up`);
  const stored = formats[part.dtype];
  return packed ? packedFormat(stored) : stored;
}

/**
 * The most units at once. For a single position, calls and the synchronisation of threads cost more than a
 * unit of few neurons does.
 */
export function unitsAtOnce(chunk: number, k: number, positions: number): number {
  return Math.max(1, Math.floor(activationValues(chunk, k) / (k * positions)));
}

/**
 * y += down(act(up x + bias)) of each unit in turn, or the gated form.
 * @returns how many activations were not zero
 */
export function computeRowUnits(
  memory: WebAssembly.Memory,
  kernels: Kernels,
  place: RowUnitPlace,
  task: RowUnitTask,
): number {
  const { units, unit, count = 1, hidden, positions } = task;
  const { neurons, sums } = place;
  const width = count * units.k;
  const atOnce = Math.floor(activationValues(place.chunk, units.k) / width);
  let active = 0;
  for (let first = 0; first < positions; first += atOnce) {
    const rows = Math.min(atOnce, positions - first);
    // The quantised input is of all rows together; fewer rows need their own.
    const own = rows === positions ? task : { ...task, quantised: null };
    activate(kernels, place, own, task.x + first * hidden * f32Bytes, rows);
    const block = { memory, address: neurons, stride: width, first: unit * units.k, count: width };
    task.hook?.activations({ ...block, position: first, positions: rows });
    addDown(kernels, place, task, task.y + first * hidden * f32Bytes, rows);
    active += kernels.countActive(neurons, rows * width);
  }
  if (task.alone !== true) {
    new Uint8Array(memory.buffer, sums, Math.min(atOnce, positions) * hidden * f32Bytes).fill(0);
  }
  return active;
}

/** neurons = act(up x + bias), or act(gate x + gateBias) times (act of) that: (positions, count k). */
function activate(
  kernels: Kernels,
  place: RowUnitPlace,
  task: RowUnitTask,
  x: number,
  positions: number,
): void {
  const { units, count = 1, ffn, bias, gateBias } = task;
  const { neurons, gates } = place;
  const values = positions * count * units.k;
  const code = activationCodes[ffn.activation];
  const { clamped } = ffn;
  multiply(kernels, place, task, { name: 'up', y: neurons, x, bias }, positions);
  const activated = ffn.gate === 'none' || ffn.gate === 'both';
  if (activated) kernels.activation(neurons, values, code, ffn.threshold);
  if (ffn.gate === 'none') return;
  multiply(kernels, place, task, { name: 'gate', y: gates, x, bias: gateBias }, positions);
  if (clamped !== undefined) {
    kernels.clampedGate(neurons, gates, values, clamped.limit, clamped.steepness);
    return;
  }
  kernels.activation(gates, values, code, ffn.threshold);
  kernels.multiply(neurons, gates, values);
}

/** y = part x + bias of all units for `positions` rows: (positions, hidden) and (positions, count k). */
function multiply(
  kernels: Kernels,
  { scratch }: RowUnitPlace,
  task: RowUnitTask,
  { name, y, x, bias }: { name: 'gate' | 'up'; y: number; x: number; bias: number },
  positions: number,
): void {
  const { units, count = 1, exact = false, quantised = null } = task;
  const { w, format, rows, columns, rowBytes } = partAt(task, name);
  const [from, flag] = inputOf(format, x, quantised);
  const all = count * rows;
  if (count > 1 && !exact && bias === 0) {
    const { tileRows } = productKernels(kernels, format);
    const { unitBytes } = units;
    const tiles = [unitBytes, rows, rowBytes, 0, all] as const;
    tileRows(y, from, w, ...tiles, columns, positions, columns, all, scratch, flag);
    return;
  }
  const matmul = matmulOf(kernels, format, exact);
  for (let unit = 0; unit < count; unit++) {
    const offset = unit * rows * f32Bytes;
    const at = w + unit * units.unitBytes;
    const own = vectorFrom(bias, unit * rows);
    matmul(y + offset, from, at, own, rows, columns, positions, columns, all, scratch, flag);
  }
}

/** y += down neurons of each unit in turn, or y = those of one, for `positions` rows: (positions, hidden). */
function addDown(
  kernels: Kernels,
  { neurons, gates, sums, scratch }: RowUnitPlace,
  task: RowUnitTask,
  y: number,
  positions: number,
): void {
  const { units, ffn, count = 1, exact = false, alone = false } = task;
  const { w, format, rows, columns, rowBytes } = partAt(task, 'down');
  const width = count * columns;
  // The gates are no longer needed, and their buffer is large enough.
  const quantise = ffn.gate === 'none' ? null : quantiseOf(kernels, format, exact);
  quantise?.(gates, neurons, width, positions, width);
  const [from, flag] = quantise === null ? ([neurons, 0] as const) : ([gates, 1] as const);
  if (count > 1 && !exact) {
    const { tileSums } = productKernels(kernels, format);
    const { unitBytes } = units;
    const tiles = [unitBytes, count, rowBytes, 0, rows] as const;
    tileSums(y, sums, from, w, ...tiles, columns, positions, width, rows, scratch, flag);
    return;
  }
  const matmul = matmulOf(kernels, format, exact);
  if (alone) {
    matmul(y, from, w, 0, rows, columns, positions, width, rows, scratch, flag);
    return;
  }
  for (let unit = 0; unit < count; unit++) {
    // Several units come here in f32 alone.
    const x = from + unit * columns * f32Bytes;
    const at = w + unit * units.unitBytes;
    matmul(sums, x, at, 0, rows, columns, positions, width, rows, scratch, flag);
    kernels.add(y, sums, positions * rows);
  }
}

/** A part of the task's first unit as it lies in memory. */
function partAt({ units, address, packed }: RowUnitTask, name: UnitPart['part']) {
  const part = partOf(units, name);
  if (part === undefined) throw new Error(`units of ${units.tensor} have no ${name}`);
  const [rows, columns] = part.shape;
  const stored = formats[part.dtype];
  const format = packed ? packedFormat(stored) : stored;
  return { w: address + part.offset, format, rows, columns, rowBytes: format.rowBytes(columns) };
}
