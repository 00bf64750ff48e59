/**
 * Matrices and neurons at work where their weights lie. In the first memory that is in place; in
 * another, input and result travel between that arena's desk and the first memory. The arithmetic is
 * the same, so are the bits.
 */

import type { DType } from '../dtype.ts';
import type { BundleLayer } from '../flash/manifest.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { neuronGroup, type WeightKernels, weightKernels } from '../kernels/weight-kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import { type BlockRoom, blockNeurons } from '../plan/activations.ts';
import { type Desk, deskRows } from '../plan/desk.ts';
import { neuronPlaces } from '../residency/rows-apart.ts';
import type { LoadedRows } from '../residency/weight-stream.ts';
import { activateNeurons } from './activate.ts';

const f32Bytes = 4;

/** Addresses of tasks are in the first memory, but those of `rows` in the arena. */
interface WeightTask {
  readonly dtype: DType;
  readonly rows: LoadedRows;
}

/** Some rows of y = W x + bias. */
export interface LinearTask extends WeightTask {
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

/** Some neurons of y += sum of act(up . x + bias) down, or of the like with gates. */
export interface NeuronTask extends WeightTask {
  readonly geometry: BundleLayer;
  readonly ffn: ModelSpec['ffn'];
  /** (positions, hidden) */
  readonly x: number;
  /** (positions, hidden) */
  readonly y: number;
  /** (sumRows, hidden): what a group of neurons that this task does not complete adds up to. */
  readonly sums: number;
  readonly hidden: number;
  /** (neurons) each, or 0: of up rows, and of gates. */
  readonly bias: number;
  readonly gateBias: number;
  readonly positions: number;
  readonly hook?: NeuronHook | undefined;
}

/** Activations of some neurons, before their contributions are made. */
export interface NeuronBlock {
  readonly memory: WebAssembly.Memory;
  /** (positions, stride) f32 */
  readonly address: number;
  readonly stride: number;
  /** Neurons [first, first + count) of the layer. */
  readonly first: number;
  readonly count: number;
  readonly positions: number;
}

export interface NeuronHook {
  /** Sees the activations of a block, and may change them. */
  activations(block: NeuronBlock): void;
}

/** Addresses of one block in the memory where its bundles lie. */
interface BlockPlaces {
  readonly x: number;
  readonly y: number;
  /** Of the block's first neuron, or 0. */
  readonly bias: number;
  readonly gateBias: number;
}

/** What the kernels of an arena need to work. */
export type Workplace = BlockRoom & Pick<Desk, 'neurons' | 'gates' | 'sums' | 'scratch'>;

/** The first memory: everything is already there. */
export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly kernels: Kernels;
  readonly #place: Workplace;

  constructor(memory: WebAssembly.Memory, kernels: Kernels, place: Workplace) {
    this.memory = memory;
    this.kernels = kernels;
    this.#place = place;
  }

  linear(task: LinearTask): void {
    const { rows, x, columns, y, outputs, bias, positions } = task;
    const { matmul } = this.weightKernels(task);
    const offset = rows.first * f32Bytes;
    const rowBias = bias === 0 ? 0 : bias + offset;
    const { scratch } = this.#place;
    const { address, count } = rows;
    matmul(y + offset, x, address, rowBias, count, columns, positions, columns, outputs, scratch);
  }

  /** What computes with weights as they lie here. */
  protected weightKernels({ dtype, rows }: WeightTask): WeightKernels {
    return weightKernels(this.kernels, rows.packed ? 'packed_f16' : dtype);
  }

  /** @returns how many activations were not zero */
  neurons(task: NeuronTask): number {
    const { rows, x, y, bias, gateBias } = task;
    let active = 0;
    const block = this.blockNeurons(task);
    for (let done = 0; done < rows.count; done += block) {
      const count = Math.min(block, rows.count - done);
      const from = (all: number) => (all === 0 ? 0 : all + (rows.first + done) * f32Bytes);
      const places = { x, y, bias: from(bias), gateBias: from(gateBias) };
      active += this.block(task, done, count, places);
    }
    return active;
  }

  protected blockNeurons({ positions }: NeuronTask): number {
    return blockNeurons(this.#place, positions);
  }

  /** Computes neurons [done, done + count) of the task's rows. */
  protected block(task: NeuronTask, done: number, count: number, places: BlockPlaces): number {
    const { rows, geometry, ffn, hidden, positions } = task;
    const { x, y, bias, gateBias } = places;
    const { neurons, gates, bundles, scratch } = this.#place;
    const { stride, group, groupStride, upOffset, downOffset } = neuronPlaces(geometry, rows.apart);
    const table = new Uint32Array(this.memory.buffer, bundles, count);
    for (let i = 0; i < count; i++) {
      const inGroup = (done + i) % group;
      table[i] = rows.address + ((done + i - inGroup) / group) * groupStride + inGroup * stride;
    }
    const actStride = this.blockNeurons(task);
    activateNeurons(this.weightKernels(task), ffn, {
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
      first: rows.first + done,
      count,
      positions,
    });
    this.#down(task, downOffset, rows.first + done, count, y);
    let active = 0;
    for (let position = 0; position < positions; position++) {
      active += this.kernels.countActive(neurons + position * actStride * f32Bytes, count);
    }
    return active;
  }

  /** y += activations times down columns of neurons [first, first + count), group by group. */
  #down(task: NeuronTask, downOffset: number, first: number, count: number, y: number) {
    const { hidden, positions } = task;
    const { neurons, bundles, sums, scratch } = this.#place;
    const { ffnSums, ffnDown } = this.weightKernels(task);
    if (positions > 1) {
      ffnDown(
        y,
        sums,
        neurons,
        bundles,
        downOffset,
        first,
        count,
        0,
        hidden,
        positions,
        hidden,
        this.blockNeurons(task),
        scratch,
      );
      return;
    }
    const begin = Math.floor(first / neuronGroup);
    const end = Math.ceil((first + count) / neuronGroup);
    const complete = Math.floor((first + count) / neuronGroup) - begin;
    ffnSums(sums, neurons, bundles, downOffset, first, count, hidden, begin, end);
    this.kernels.fold(y, sums, complete, hidden, hidden);
    // The first row holds what the open group has so far, or nothing.
    const rowBytes = hidden * f32Bytes;
    if (begin + complete === end) new Uint8Array(this.memory.buffer, sums, rowBytes).fill(0);
    else if (complete > 0)
      this.kernels.copyRows(sums, sums + complete * rowBytes, 1, rowBytes, 0, 0);
  }
}

/** A further memory, whose desk input and result pass over. */
export class RemoteArena extends Arena {
  readonly #main: WebAssembly.Memory;
  readonly #desk: Desk;

  constructor(memory: WebAssembly.Memory, kernels: Kernels, desk: Desk, main: WebAssembly.Memory) {
    super(memory, kernels, desk);
    this.#main = main;
    this.#desk = desk;
  }

  override linear(task: LinearTask): void {
    const { rows, rowBytes, x, columns, y, outputs, bias, positions } = task;
    const { input, output, scratch, bias: deskBias } = this.#desk;
    const { matmul } = this.weightKernels(task);
    this.#fetch(input, x, positions * columns);
    for (let done = 0; done < rows.count; done += deskRows) {
      const count = Math.min(deskRows, rows.count - done);
      const first = rows.first + done;
      const rowBias = bias === 0 ? 0 : this.#fetch(deskBias, bias + first * f32Bytes, count);
      const address = rows.address + done * rowBytes;
      matmul(
        output,
        input,
        address,
        rowBias,
        count,
        columns,
        positions,
        columns,
        deskRows,
        scratch,
      );
      for (let position = 0; position < positions; position++) {
        const target = y + (position * outputs + first) * f32Bytes;
        this.#deliver(target, output + position * deskRows * f32Bytes, count);
      }
    }
  }

  override neurons(task: NeuronTask): number {
    const { rows, x, y, sums, hidden, bias, gateBias, positions } = task;
    const { input, output, sums: deskSums, bias: deskBias, gateBias: deskGateBias } = this.#desk;
    this.#fetch(input, x, positions * hidden);
    this.#fetch(output, y, positions * hidden);
    this.#fetch(deskSums, sums, positions * hidden);
    let active = 0;
    const block = this.blockNeurons(task);
    for (let done = 0; done < rows.count; done += block) {
      const count = Math.min(block, rows.count - done);
      const from = (all: number, to: number) =>
        all === 0 ? 0 : this.#fetch(to, all + (rows.first + done) * f32Bytes, count);
      active += this.block(task, done, count, {
        x: input,
        y: output,
        bias: from(bias, deskBias),
        gateBias: from(gateBias, deskGateBias),
      });
    }
    this.#deliver(y, output, positions * hidden);
    this.#deliver(sums, deskSums, positions * hidden);
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
