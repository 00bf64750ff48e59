/**
 * The second half of a dense FFN whose down projection waits for the activations of all neurons: it uses
 * resident rows again where they lie, and keeps copies of the down columns of streamed rows.
 */

import { neuronGeometry } from '../flash/ffn-units.ts';
import { memoryOf } from '../residency/packing.ts';
import { neuronPlaces } from '../residency/rows-apart.ts';
import type { LoadedRows } from '../residency/weight-stream.ts';
import type { AllActivations } from './all-activations.ts';
import type { FfnTask } from './arena.ts';
import type { LayerMathParts } from './layer-math.ts';

type Half = Pick<FfnTask, 'rows' | 'half'>;

export class WaitingDowns {
  readonly #task: Omit<FfnTask, 'rows'>;
  readonly #all: AllActivations;
  readonly #parts: LayerMathParts;
  readonly #values: Float32Array;
  readonly #second: Half[] = [];
  /** The number of neurons that stay in memory, which are the first ones. */
  readonly #staying: number;

  constructor(task: Omit<FfnTask, 'rows'>, all: AllActivations, parts: LayerMathParts) {
    this.#task = task;
    this.#all = all;
    this.#parts = parts;
    this.#values = all.begin(task.positions);
    const { files, weights } = parts;
    this.#staying = weights.residentRows(files.tensor(task.units.tensor));
  }

  /** The task's first half for some rows whose down columns are used later. */
  next(rows: LoadedRows): Pick<FfnTask, 'half'> {
    const half = { values: this.#values, all: this.#all.neurons };
    const second = rows.first < this.#staying ? { rows, downs: null } : this.#keep(rows);
    this.#second.push({ rows: second.rows, half: { ...half, do: 'down', downs: second.downs } });
    return { half: { ...half, do: 'activate', downs: null } };
  }

  /** y += activations times down columns, once all activations are known. */
  finish(layer: number): void {
    this.#all.finish(layer, this.#task.positions);
    for (const { rows, half } of this.#second) {
      memoryOf(this.#parts.arenas, rows.arena).ffn({ ...this.#task, rows, half });
    }
  }

  /** Copies the down columns of streamed rows, which lie in the first memory. */
  #keep(rows: LoadedRows) {
    const { units } = this.#task;
    const geometry = neuronGeometry(units);
    if (geometry === null) throw new Error(`units of ${units.tensor} are not single neurons`);
    const { stride, downOffset } = neuronPlaces(geometry, rows.apart);
    const columnBytes = rows.format.rowBytes(this.#task.hidden);
    const address = this.#all.downs + rows.first * columnBytes;
    const [{ kernels }] = this.#parts.arenas;
    const source = rows.address + downOffset;
    kernels.copyRows(address, source, rows.count, columnBytes, stride, columnBytes);
    const downs = { bundleBytes: columnBytes, upOffset: 0, downOffset: 0 };
    return { rows: { ...rows, address, arena: 0, apart: false }, downs };
  }
}
