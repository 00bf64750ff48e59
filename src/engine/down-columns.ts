/** The down projection over bundles, summed group by group, for one position, a few or many. */

import type { Kernels } from '../kernels/kernels.ts';
import { type NeuronKernels, neuronGroup } from '../kernels/weight-kernels.ts';
import { sumRows } from '../plan/activations.ts';

const f32Bytes = 4;
/**
 * Up to this many positions, sums are kept for each group and threads split the groups; beyond it, threads
 * split the positions.
 */
const fewPositions = 8;

/** Neurons [first, first + count) of an FFN; addresses are in the memory where they lie. */
export interface DownTask {
  /** (positions, stride): activations. */
  readonly acts: number;
  readonly stride: number;
  /** u32 (count): where each bundle begins, and where in it the down column. */
  readonly bundles: number;
  readonly downOffset: number;
  readonly first: number;
  readonly count: number;
  /** (positions, hidden), to which the product is added */
  readonly y: number;
  /** (sumRows(chunk), hidden): the first rows hold the open group's partial sum for each position. */
  readonly sums: number;
  readonly chunk: number;
  readonly hidden: number;
  readonly positions: number;
  readonly scratch: number;
}

/** y += activations times down columns; leaves the open group's partial sums in `sums`. */
export function addDownColumns(
  memory: WebAssembly.Memory,
  { fold }: Kernels,
  { ffnSums, ffnDown }: NeuronKernels,
  task: DownTask,
): void {
  const { acts, stride, bundles, downOffset, first, count, y, sums } = task;
  const { chunk, hidden, positions, scratch } = task;
  if (positions > fewPositions) {
    const list = [bundles, downOffset, first, count] as const;
    ffnDown(y, sums, acts, ...list, 0, hidden, positions, hidden, stride, scratch);
    return;
  }
  const rowBytes = hidden * f32Bytes;
  const groupBytes = positions * rowBytes;
  // As many groups at a time as `sums` has room for.
  const room = Math.floor(sumRows(chunk) / positions);
  for (let done = 0; done < count; ) {
    const from = first + done;
    const begin = Math.floor(from / neuronGroup);
    const to = Math.min(first + count, (begin + room) * neuronGroup);
    const complete = Math.floor(to / neuronGroup) - begin;
    const groupEnd = Math.ceil(to / neuronGroup);
    const at = done * f32Bytes;
    const list = [acts + at, bundles + at, downOffset, from, to - from] as const;
    ffnSums(sums, ...list, hidden, positions, stride, begin, groupEnd, scratch);
    for (let p = 0; p < positions; p++) {
      const row = p * rowBytes;
      fold(y + row, sums + row, complete, hidden, positions * hidden);
    }
    const bytes = new Uint8Array(memory.buffer);
    const open = sums + complete * groupBytes;
    if (begin + complete === groupEnd) bytes.fill(0, sums, sums + groupBytes);
    else if (complete > 0) bytes.copyWithin(sums, open, open + groupBytes);
    done += to - from;
  }
}
