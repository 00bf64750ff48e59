/**
 * Rearranges resident neurons that every token uses in full: within each group of 64 neurons, the gate rows
 * lie together, then the up rows, then the down columns.
 *
 *     as read    | gate 0 | up 0 | down 0 | gate 1 | up 1 | down 1 | ...
 *     apart      | gate 0 | gate 1 | ... gate 63 | up 0 | up 1 ... | down 0 | down 1 ... | gate 64 ...
 *
 * Each token passes over all gates, but mostly not over the other rows of a neuron: memory is read twice as
 * fast where the rows in use follow each other. An incomplete last group stays as it was read.
 */

import type { NeuronGeometry } from '../flash/ffn-units.ts';
import { neuronGroup } from '../kernels/weight-kernels.ts';

/** Where the parts of neurons lie; strides and offsets in bytes. */
export interface NeuronPlaces {
  /** Distance from one neuron's first row to the next one's, within a group. */
  readonly stride: number;
  /** Neurons of a group, and the distance from one group to the next. */
  readonly group: number;
  readonly groupStride: number;
  /** Offsets from a neuron's first row to its up row and to its down column. */
  readonly upOffset: number;
  readonly downOffset: number;
}

/** The geometry of neurons as they were read, or laid apart. */
export function neuronPlaces(bundles: NeuronGeometry, apart: boolean): NeuronPlaces {
  const { bundleBytes, upOffset, downOffset } = bundles;
  const scale = apart ? neuronGroup : 1;
  return {
    stride: apart ? partBytes(bundles) : bundleBytes,
    group: neuronGroup,
    groupStride: neuronGroup * bundleBytes,
    upOffset: scale * upOffset,
    downOffset: scale * downOffset,
  };
}

/** How many of `count` neurons {@link layApart} lays apart: the whole groups. */
export function neuronsApart(count: number): number {
  return count - (count % neuronGroup);
}

/** Lays the rows of `count` bundles at `address` apart, in their place. */
export function layApart(
  memory: WebAssembly.Memory,
  address: number,
  count: number,
  bundles: NeuronGeometry,
): void {
  const { bundleBytes, downOffset } = bundles;
  const bytes = partBytes(bundles);
  const groupBytes = neuronGroup * bundleBytes;
  const before = new Uint8Array(groupBytes);
  for (let first = 0; first < neuronsApart(count); first += neuronGroup) {
    const group = new Uint8Array(memory.buffer, address + first * bundleBytes, groupBytes);
    before.set(group);
    let target = 0;
    for (let part = 0; part <= downOffset; part += bytes) {
      for (let at = part; at < groupBytes; at += bundleBytes) {
        group.set(before.subarray(at, at + bytes), target);
        target += bytes;
      }
    }
  }
}

/** Bytes of a row, which are also those of a down column. */
function partBytes({ upOffset, downOffset }: NeuronGeometry): number {
  return upOffset === 0 ? downOffset : upOffset;
}
