/**
 * Computes products and FFNs in the memory where their weights lie. In the first memory they are computed in
 * place; in another one, input and result are copied between that arena's transfer buffers and the first
 * memory. The arithmetic is the same, and so are the result's bits.
 */

import type { Format } from '../dtype.ts';
import { type FfnUnits, type NeuronGeometry, neuronGeometry } from '../flash/ffn-units.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { matmulOf, type NeuronKernels, neuronKernels } from '../kernels/weight-kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import { type BlockRoom, blockNeurons } from '../plan/activations.ts';
import { type TransferBuffers, transferRows } from '../plan/transfer-buffers.ts';
import { neuronPlaces } from '../residency/rows-apart.ts';
import type { LoadedRows } from '../residency/weight-stream.ts';
import { activateNeurons } from './activate.ts';
import { addDownColumns } from './down-columns.ts';
import type { NeuronHook } from './ffn-hook.ts';
import { inputOf, type PlainInput, type QuantisedInput, quantiseInput } from './quantised-input.ts';
import { computeRowUnits, inputFormat, type RowUnitTask, unitsAtOnce } from './row-units.ts';
import { vectorFrom } from './vector-from.ts';

const f32Bytes = 4;

/** Some rows of y = W x + bias; addresses are in the first memory, but those of `rows` in the arena. */
export interface LinearTask {
  readonly rows: LoadedRows;
  readonly rowBytes: number;
  /** (positions, columns) */
  readonly x: number;
  readonly columns: number;
  /** (positions, outputs) */
  readonly y: number;
  readonly outputs: number;
  /** (outputs), or 0 */
  readonly bias: number;
  readonly positions: number;
}

/** Some units of y += sum of act(up . x + bias) down, or of the gated form; the same holds for addresses. */
export interface FfnTask {
  readonly units: FfnUnits;
  /** Units in place of rows. */
  readonly rows: LoadedRows;
  readonly ffn: ModelSpec['ffn'];
  /** (positions, hidden) */
  readonly x: number;
  /** (positions, hidden) */
  readonly y: number;
  /** (sumRows, hidden): the partial sum of a group of neurons that this task does not complete. */
  readonly sums: number;
  readonly hidden: number;
  /** (neurons) each, or 0: of up rows, and of gates. */
  readonly bias: number;
  readonly gateBias: number;
  readonly positions: number;
  readonly hook?: NeuronHook | undefined;
  /** For single neurons whose down columns wait for all activations: which half to compute. */
  readonly half?: FfnHalf | undefined;
}

/** The first half gathers activations; the second half adds the neurons' contributions from them. */
export interface FfnHalf {
  readonly do: 'activate' | 'down';
  /** (positions, all) f32 in the first memory. */
  readonly values: Float32Array;
  /** Neurons of the whole FFN. */
  readonly all: number;
  /** The layout of the down columns, where the rows hold these alone. */
  readonly downs: NeuronGeometry | null;
}

/** One expert, which lies in the arena; the other addresses are in the first memory. */
export interface ExpertTask
  extends Omit<RowUnitTask, 'unit' | 'alone' | 'hook' | 'exact' | 'quantised'> {
  readonly expert: number;
}

/** Addresses of some units in the memory where they lie. */
interface UnitPlaces {
  readonly x: number;
  readonly y: number;
  /** Of the first neuron, or 0. */
  readonly bias: number;
  readonly gateBias: number;
}

/** The buffers that the kernels of an arena need; see Activations. */
export type ArenaBuffers = BlockRoom &
  Pick<TransferBuffers, 'neurons' | 'gates' | 'sums' | 'scratch'> &
  Partial<Pick<TransferBuffers, 'quantised'>>;

/** The first memory: everything is already there. */
export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly kernels: Kernels;
  /** Whether products are in f32 whatever the format of the weights. */
  readonly exact: boolean;
  readonly #place: ArenaBuffers;

  constructor(memory: WebAssembly.Memory, kernels: Kernels, place: ArenaBuffers, exact = false) {
    this.memory = memory;
    this.kernels = kernels;
    this.exact = exact;
    this.#place = place;
  }

  /** Scratch of this memory's kernels, enough for rows of any tensor. */
  get scratch(): number {
    return this.#place.scratch;
  }

  linear(task: LinearTask): void {
    const { rows, columns, y, outputs, bias, positions } = task;
    const { format, address, count } = rows;
    const matmul = matmulOf(this.kernels, format, this.exact);
    const [x, quantised] = inputOf(format, task.x, this.quantised(format, task));
    const to = y + rows.first * f32Bytes;
    const rowBias = vectorFrom(bias, rows.first);
    const { scratch } = this.#place;
    matmul(
      ...([to, x, address, rowBias, count, columns, positions, columns, outputs] as const),
      scratch,
      quantised,
    );
  }

  /** Quantises input that lies in this memory for products in a format; null where these take it in f32. */
  protected quantised(format: Format, input: PlainInput): QuantisedInput | null {
    return quantiseInput(this.kernels, this.#place.quantised ?? null, format, input, this.exact);
  }

  /** @returns how many activations were not zero */
  ffn(task: FfnTask): number {
    return this.inPieces(task, (first) => ({
      x: task.x,
      y: task.y,
      bias: vectorFrom(task.bias, first),
      gateBias: vectorFrom(task.gateBias, first),
    }));
  }

  /**
   * y = the output of an expert for the rows in x; overwrites y.
   * @returns how many activations were not zero
   */
  expert(task: ExpertTask): number {
    const { x, hidden, positions, units, packed } = task;
    const { memory, kernels, exact } = this;
    const format = inputFormat(units, packed);
    const quantised = this.quantised(format, { x, columns: hidden, positions });
    const own = { ...task, unit: task.expert, alone: true, exact, quantised };
    return computeRowUnits(memory, kernels, this.#place, own);
  }

  /**
   * Computes a task's units: single neurons in blocks, larger units as many at a time as fit the buffers.
   * @param placesOf where input, output and biases of neurons [first, first + count) are
   */
  protected inPieces(
    task: FfnTask,
    placesOf: (first: number, count: number) => UnitPlaces,
  ): number {
    const { units, rows, positions } = task;
    const geometry = task.half?.downs ?? neuronGeometry(units);
    // The transfer buffer for biases has room for those of one unit.
    const biased = task.bias !== 0 || task.gateBias !== 0;
    const atOnce =
      geometry !== null
        ? blockNeurons(this.#place, positions)
        : biased
          ? 1
          : unitsAtOnce(this.#place.chunk, units.k, positions);
    let active = 0;
    let quantised: QuantisedInput | null = null;
    for (let done = 0; done < rows.count; done += atOnce) {
      const count = Math.min(atOnce, rows.count - done);
      const places = placesOf((rows.first + done) * units.k, count * units.k);
      if (geometry === null && done === 0) {
        const input = { x: places.x, columns: task.hidden, positions };
        quantised = this.quantised(inputFormat(units, rows.packed), input);
      }
      active +=
        geometry === null
          ? computeRowUnits(this.memory, this.kernels, this.#place, {
              ...{ ...task, ...places },
              address: rows.address + done * units.unitBytes,
              packed: rows.packed,
              unit: rows.first + done,
              count,
              exact: this.exact,
              quantised,
            })
          : this.#neurons(task, geometry, done, count, places);
    }
    return active;
  }

  /** Computes neurons [done, done + count) of the task's rows. */
  #neurons(
    task: FfnTask,
    geometry: NeuronGeometry,
    done: number,
    count: number,
    { x, y, bias, gateBias }: UnitPlaces,
  ): number {
    const { rows, ffn, hidden, positions } = task;
    const { neurons, gates, bundles, scratch } = this.#place;
    const { stride, group, groupStride, upOffset, downOffset } = neuronPlaces(geometry, rows.apart);
    const kernels = neuronKernels(this.kernels, rows.format);
    const table = new Uint32Array(this.memory.buffer, bundles, count);
    for (let i = 0; i < count; i++) {
      const inGroup = (done + i) % group;
      table[i] = rows.address + ((done + i - inGroup) / group) * groupStride + inGroup * stride;
    }
    const actStride = blockNeurons(this.#place, positions);
    const first = rows.first + done;
    if (task.half?.do === 'down') {
      this.#exchange(task.half, actStride, first, count, positions);
      this.#down(task, kernels, downOffset, first, count, y);
      return 0;
    }
    activateNeurons(kernels, ffn, {
      acts: neurons,
      gates,
      stride: actStride,
      x,
      bundles,
      upOffset,
      bias,
      gateBias,
      count,
      hidden,
      positions,
      scratch,
    });
    task.hook?.activations({
      memory: this.memory,
      address: neurons,
      stride: actStride,
      first,
      count,
      position: 0,
      positions,
    });
    if (task.half === undefined) this.#down(task, kernels, downOffset, first, count, y);
    else this.#exchange(task.half, actStride, first, count, positions);
    let active = 0;
    for (let position = 0; position < positions; position++) {
      active += this.kernels.countActive(neurons + position * actStride * f32Bytes, count);
    }
    return active;
  }

  /** Gathers the activations of neurons [first, first + count), or reads back those that were gathered. */
  #exchange(half: FfnHalf, stride: number, first: number, count: number, positions: number): void {
    const { neurons } = this.#place;
    for (let position = 0; position < positions; position++) {
      const at = neurons + position * stride * f32Bytes;
      const own = new Float32Array(this.memory.buffer, at, count);
      const from = position * half.all + first;
      if (half.do === 'activate') half.values.set(own, from);
      else own.set(half.values.subarray(from, from + count));
    }
  }

  /** y += activations times down columns of neurons [first, first + count), group by group. */
  #down(
    { hidden, positions }: FfnTask,
    kernels: NeuronKernels,
    downOffset: number,
    first: number,
    count: number,
    y: number,
  ): void {
    const { neurons, bundles, sums, scratch, chunk } = this.#place;
    addDownColumns(this.memory, this.kernels, kernels, {
      ...{ acts: neurons, stride: blockNeurons(this.#place, positions), bundles, downOffset },
      ...{ first, count, y, sums, chunk, hidden, positions, scratch },
    });
  }
}

/** A further memory; input and result pass through its transfer buffers. */
export class RemoteArena extends Arena {
  readonly #main: WebAssembly.Memory;
  readonly #transfer: TransferBuffers;

  constructor(
    memory: WebAssembly.Memory,
    kernels: Kernels,
    transfer: TransferBuffers,
    main: WebAssembly.Memory,
    exact: boolean,
  ) {
    super(memory, kernels, transfer, exact);
    this.#main = main;
    this.#transfer = transfer;
  }

  override linear(task: LinearTask): void {
    const { rows, rowBytes, x, columns, y, outputs, bias, positions } = task;
    const { input, output, scratch, bias: transferBias } = this.#transfer;
    const { format } = rows;
    const matmul = matmulOf(this.kernels, format, this.exact);
    const here = this.#fetch(input, x, positions * columns);
    const [from, quantised] = inputOf(
      format,
      here,
      this.quantised(format, { x: here, columns, positions }),
    );
    for (let done = 0; done < rows.count; done += transferRows) {
      const count = Math.min(transferRows, rows.count - done);
      const first = rows.first + done;
      const rowBias = bias === 0 ? 0 : this.#fetch(transferBias, bias + first * f32Bytes, count);
      const address = rows.address + done * rowBytes;
      matmul(
        output,
        from,
        address,
        rowBias,
        count,
        columns,
        positions,
        columns,
        transferRows,
        scratch,
        quantised,
      );
      for (let position = 0; position < positions; position++) {
        const target = y + (position * outputs + first) * f32Bytes;
        this.#deliver(target, output + position * transferRows * f32Bytes, count);
      }
    }
  }

  override ffn(task: FfnTask): number {
    const { x, y, sums, hidden, bias, gateBias, positions } = task;
    const {
      input,
      output,
      sums: transferSums,
      bias: transferBias,
      gateBias: transferGateBias,
    } = this.#transfer;
    this.#fetch(input, x, positions * hidden);
    this.#fetch(output, y, positions * hidden);
    this.#fetch(transferSums, sums, positions * hidden);
    const active = this.inPieces(task, (first, count) => {
      const from = (all: number, to: number) =>
        all === 0 ? 0 : this.#fetch(to, all + first * f32Bytes, count);
      const biases = { bias: from(bias, transferBias), gateBias: from(gateBias, transferGateBias) };
      return { x: input, y: output, ...biases };
    });
    this.#deliver(y, output, positions * hidden);
    this.#deliver(sums, transferSums, positions * hidden);
    return active;
  }

  override expert(task: ExpertTask): number {
    const { x, y, hidden, positions, units, bias, gateBias } = task;
    const { input, output, bias: transferBias, gateBias: transferGateBias } = this.#transfer;
    const active = super.expert({
      ...task,
      x: this.#fetch(input, x, positions * hidden),
      y: output,
      bias: bias === 0 ? 0 : this.#fetch(transferBias, bias, units.k),
      gateBias: gateBias === 0 ? 0 : this.#fetch(transferGateBias, gateBias, units.k),
    });
    this.#deliver(y, output, positions * hidden);
    return active;
  }

  /** Copies `count` values from the first memory to `target` here, and returns `target`. */
  #fetch(target: number, from: number, count: number): number {
    new Float32Array(this.memory.buffer, target, count).set(
      new Float32Array(this.#main.buffer, from, count),
    );
    return target;
  }

  /** Copies `count` values from here to `target` in the first memory. */
  #deliver(target: number, from: number, count: number): void {
    new Float32Array(this.#main.buffer, target, count).set(
      new Float32Array(this.memory.buffer, from, count),
    );
  }
}
