/**
 * The FFN over a list of wanted neurons, in the memory where they lie: their activations, and their
 * contributions to the output. In a further memory, input and result pass through its
 * transfer buffers.
 */

import type { Format } from '../dtype.ts';
import type { Kernels } from '../kernels/kernels.ts';
import { neuronKernels } from '../kernels/weight-kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import { type ListTables, neuronBlock, type Staging } from '../plan/list-layout.ts';
import { activateNeurons } from './activate.ts';
import type { BitSelection } from './selection.ts';

const f32Bytes = 4;

/** One layer's FFN over a list; addresses are in the first memory. */
export interface ListTask {
  readonly format: Format;
  readonly upOffset: number;
  readonly downOffset: number;
  /** Of a bundle. */
  readonly unitBytes: number;
  readonly ffn: ModelSpec['ffn'];
  readonly hidden: number;
  readonly positions: number;
  /** (positions, hidden) */
  readonly x: number;
  /** (positions, hidden), to which the contributions are added */
  readonly y: number;
  /** (neurons) each, or 0: of up rows, and of gates. */
  readonly bias: number;
  readonly gateBias: number;
  /** The neurons that each position wants. */
  readonly selection: BitSelection;
  /** Neurons whose contributions are summed up before they are added. */
  readonly group: number;
}

/** Entries [0, count) of the part of a list in progress, at most {@link neuronBlock}. */
export interface ListPart {
  readonly count: number;
  /** Ids, ascending. */
  readonly ids: Uint32Array;
  /** Where each entry's bundle lies. */
  readonly addresses: Uint32Array;
  /** For each entry 1 when its bundle is in memory before the reads of this part have ended. */
  readonly early: Uint8Array;
  /** Whether the next part begins with a neuron of this part's last group. */
  readonly open: boolean;
}

/** Activations by neuron, in the first memory, where down columns wait for all of them. */
export interface GatheredActivations {
  /** (positions, neurons) */
  readonly values: Float32Array;
  readonly neurons: number;
}

/** The buffers of an arena's work on lists. */
export interface ListPlace extends ListTables {
  readonly input: number;
  readonly output: number;
  readonly neurons: number;
  readonly gates: number;
  readonly sums: number;
  readonly scratch: number;
  readonly staging: Staging | null;
  /** (neurons, bytes of a column): copies of down columns in staging; 0 where none wait. */
  readonly keptDowns: number;
}

export class ListArena {
  readonly memory: WebAssembly.Memory;
  readonly place: ListPlace;
  readonly #kernels: Kernels;
  readonly #main: WebAssembly.Memory;
  /** Views of the place's tables, which never move. */
  readonly #tables: Readonly<Record<'ups' | 'downs' | 'order' | 'ids' | 'bounds', Uint32Array>>;
  readonly #bias: Float32Array;
  readonly #gateBias: Float32Array;
  #x = 0;
  #y = 0;
  /** Entries of the part in progress whose bundles are in memory early. */
  #early = 0;
  /** Whether the last part left a group open. */
  #continued = false;

  /** @param main the first memory, which may be `memory` itself */
  constructor(
    memory: WebAssembly.Memory,
    kernels: Kernels,
    place: ListPlace,
    main: WebAssembly.Memory,
  ) {
    this.memory = memory;
    this.place = place;
    this.#kernels = kernels;
    this.#main = main;
    const table = (address: number) => new Uint32Array(memory.buffer, address, neuronBlock);
    this.#tables = {
      ups: table(place.ups),
      downs: table(place.downs),
      order: table(place.order),
      ids: table(place.ids),
      bounds: new Uint32Array(memory.buffer, place.bounds, 33),
    };
    this.#bias = new Float32Array(memory.buffer, place.bias, neuronBlock);
    this.#gateBias = new Float32Array(memory.buffer, place.gateBias, neuronBlock);
  }

  /** Begins a list: copies input and output to where the kernels expect them. */
  begin(task: ListTask): void {
    const { positions, hidden, selection } = task;
    const { input, output, sums, bits } = this.place;
    const values = positions * hidden;
    this.#continued = false;
    new Uint32Array(this.memory.buffer, bits, positions * selection.words).set(selection.bits);
    if (this.memory === this.#main) {
      [this.#x, this.#y] = [task.x, task.y];
    } else {
      [this.#x, this.#y] = [input, output];
      this.#copy(this.memory, input, this.#main, task.x, values);
      this.#copy(this.memory, output, this.#main, task.y, values);
    }
    new Float32Array(this.memory.buffer, sums, values).fill(0);
  }

  /** Computes the activations of entries that are in memory early, while others are being read. */
  early(task: ListTask, part: ListPart): void {
    const { ups, order } = this.#tables;
    const biases = (address: number) =>
      address === 0 ? null : new Float32Array(this.#main.buffer, address, task.selection.count);
    const [bias, gateBias] = [biases(task.bias), biases(task.gateBias)];
    let early = 0;
    for (let i = 0; i < part.count; i++) early += part.early[i] ?? 0;
    let next = 0;
    let late = early;
    for (let i = 0; i < part.count; i++) {
      const place = part.early[i] === 1 ? next++ : late++;
      order[i] = place;
      ups[place] = part.addresses[i] ?? 0;
      if (bias !== null) this.#bias[place] = bias[part.ids[i] ?? 0] ?? 0;
      if (gateBias !== null) this.#gateBias[place] = gateBias[part.ids[i] ?? 0] ?? 0;
    }
    this.#early = early;
    this.#activate(task, 0, early);
  }

  /**
   * Computes the activations of the other entries, and the contributions of all.
   * @returns how many activations were not zero
   */
  finish(task: ListTask, part: ListPart): number {
    const active = this.#want(task, part);
    this.#tables.downs.set(part.addresses.subarray(0, part.count));
    this.#contribute(task, part, task.downOffset);
    return active;
  }

  /**
   * Computes the activations of the other entries and gathers all of the part's in `gathered`; copies the
   * down columns of neurons in staging.
   * @returns how many activations were not zero, and where the columns are until the list ends
   */
  gather(
    task: ListTask,
    part: ListPart,
    { values, neurons }: GatheredActivations,
  ): { readonly active: number; readonly columns: Uint32Array } {
    const active = this.#want(task, part);
    for (let position = 0; position < task.positions; position++) {
      const own = this.#wanted(position, part.count);
      const first = position * neurons;
      for (let i = 0; i < part.count; i++) values[first + (part.ids[i] ?? 0)] = own[i] ?? 0;
    }
    return { active, columns: this.#columns(task, part) };
  }

  /** Adds the contributions of a part whose activations were gathered. */
  contribute(
    task: ListTask,
    part: ListPart,
    { values, neurons }: GatheredActivations,
    columns: Uint32Array,
  ): void {
    for (let position = 0; position < task.positions; position++) {
      const own = this.#wanted(position, part.count);
      const first = position * neurons;
      for (let i = 0; i < part.count; i++) own[i] = values[first + (part.ids[i] ?? 0)] ?? 0;
    }
    this.#tables.downs.set(columns);
    this.#contribute(task, part, 0);
  }

  /** Addresses where a part's down columns stay: those in staging are copied. */
  #columns({ format, hidden, downOffset, unitBytes }: ListTask, part: ListPart): Uint32Array {
    const { staging, keptDowns } = this.place;
    const bytes = format.rowBytes(hidden);
    const memory = new Uint8Array(this.memory.buffer);
    const from = staging?.address ?? 0;
    const end = from + (staging?.slots ?? 0) * unitBytes;
    return part.addresses.subarray(0, part.count).map((address, i) => {
      const column = address + downOffset;
      if (address < from || address >= end) return column;
      const kept = keptDowns + (part.ids[i] ?? 0) * bytes;
      memory.copyWithin(kept, column, column + bytes);
      return kept;
    });
  }

  /** Computes the activations of a part's entries for the positions that want them. */
  #wanted(position: number, count: number): Float32Array {
    const at = this.place.wanted + position * neuronBlock * f32Bytes;
    return new Float32Array(this.memory.buffer, at, count);
  }

  /** Computes the activations of a part for the positions that want them. @returns how many are not zero */
  #want(task: ListTask, part: ListPart): number {
    const { positions, selection } = task;
    const { neurons, wanted, order, ids, bits } = this.place;
    const { count } = part;
    this.#activate(task, this.#early, count);
    this.#tables.ids.set(part.ids.subarray(0, count));
    this.#kernels.wantedActs(
      wanted,
      neurons,
      order,
      ids,
      bits,
      count,
      positions,
      neuronBlock,
      neuronBlock,
      selection.words,
    );
    let active = 0;
    for (let position = 0; position < positions; position++) {
      active += this.#kernels.countActive(wanted + position * neuronBlock * f32Bytes, count);
    }
    return active;
  }

  /**
   * Adds the contributions of a part's neurons; their columns lie `downOffset` bytes after the table's
   * addresses.
   */
  #contribute(task: ListTask, part: ListPart, downOffset: number): void {
    const { positions, hidden, format } = task;
    const { wanted, sums, downs, bounds, scratch } = this.place;
    const { count } = part;
    const groups = this.#findGroups(task, part);
    const { ffnListSums, ffnListDown } = neuronKernels(this.#kernels, format);
    if (positions === 1) {
      const continued = this.#continued ? 1 : 0;
      const rows = groups + (part.open ? 1 : 0);
      ffnListSums(
        sums,
        wanted,
        downs,
        downOffset,
        bounds,
        groups,
        count,
        hidden,
        continued,
        0,
        rows,
      );
      this.#kernels.fold(this.#y, sums, groups, hidden, hidden);
      const rowBytes = hidden * f32Bytes;
      if (part.open && groups > 0) {
        this.#kernels.copyRows(sums, sums + groups * rowBytes, 1, rowBytes, 0, 0);
      }
    } else {
      ffnListDown(
        this.#y,
        sums,
        wanted,
        downs,
        downOffset,
        bounds,
        groups,
        count,
        0,
        hidden,
        positions,
        hidden,
        neuronBlock,
        scratch,
      );
    }
    this.#continued = part.open;
  }

  /** Ends a list: copies the result to where the caller expects it. */
  end(task: ListTask): void {
    if (this.memory === this.#main) return;
    this.#copy(this.#main, task.y, this.memory, this.#y, task.positions * task.hidden);
  }

  #activate(task: ListTask, from: number, to: number): void {
    if (from === to) return;
    const { format, ffn, upOffset, hidden, positions } = task;
    const { neurons, gates, ups, bias, gateBias, scratch } = this.place;
    const offset = from * f32Bytes;
    activateNeurons(neuronKernels(this.#kernels, format), ffn, {
      acts: neurons + offset,
      gates: gates + offset,
      stride: neuronBlock,
      x: this.#x,
      bundles: ups + offset,
      upOffset,
      bias: task.bias === 0 ? 0 : bias + offset,
      gateBias: task.gateBias === 0 ? 0 : gateBias + offset,
      count: to - from,
      hidden,
      positions,
      scratch,
    });
  }

  /** Writes where groups end; the last one ends unless it is open. @returns how many end */
  #findGroups({ group }: ListTask, { count, ids, open }: ListPart): number {
    const { bounds } = this.#tables;
    let groups = 0;
    for (let i = 1; i < count; i++) {
      const before = Math.floor((ids[i - 1] ?? 0) / group);
      if (Math.floor((ids[i] ?? 0) / group) !== before) bounds[groups++] = i;
    }
    if (!open) bounds[groups++] = count;
    return groups;
  }

  /** Copies `words` of 32 bits between memories. */
  #copy(
    to: WebAssembly.Memory,
    target: number,
    from: WebAssembly.Memory,
    source: number,
    words: number,
  ): void {
    new Uint32Array(to.buffer, target, words).set(new Uint32Array(from.buffer, source, words));
  }
}
