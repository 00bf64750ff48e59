/**
 * Neurons that stay in memory, and of which every token wants all: their gate rows side by side, their
 * up rows, and their down columns, each group of 64 neurons on its own.
 *
 *     as read    | gate 0 | up 0 | down 0 | gate 1 | up 1 | down 1 | ...
 *     apart      | gate 0 | gate 1 | ... gate 63 | up 0 | up 1 ... | down 0 | down 1 ... | gate 64 ...
 *
 * All gates are passed over for each token, and what follows of a neuron mostly is not: memory is read
 * twice as fast where rows follow each other. What is left of a last group stays as it was read.
 */

import type { NeuronGeometry } from '../flash/ffn-units.ts';
import { neuronGroup } from '../kernels/weight-kernels.ts';

/** Where the parts of neurons lie; strides and offsets in bytes. */
export interface NeuronPlaces {
  /** From one neuron's first row to the next one's, within a group. */
  readonly stride: number;
  /** Neurons of a group, and from one group to the next. */
  readonly group: number;
  readonly groupStride: number;
  /** From a neuron's first row to its up row, and to its down column. */
  readonly upOffset: number;
  readonly downOffset: number;
}

/** Of neurons as they were read, or apart. */
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

/** Bytes of a row, or of a down column: one like the other. */
function partBytes({ upOffset, downOffset }: NeuronGeometry): number {
  return upOffset === 0 ? downOffset : upOffset;
}
