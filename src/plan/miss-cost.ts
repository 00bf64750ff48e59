/**
 * What it costs to read the neurons of a layer that a token wants and DRAM does not hold, without
 * planning the reads: misses lie anywhere in the layer, the gaps between them are geometrically
 * distributed, and short gaps are read over as `planReads` does. Where misses are dense this tends to
 * one pass over the whole layer, so that a bad predictor never looks cheaper than it is.
 */

import { type DeviceProfile, readLimits } from '../flash/device-profile.ts';
import { smallestRead } from '../flash/read-plan.ts';

/** What reading costs, of a device and the processor that asks it. */
export type ReadCosts = Pick<
  DeviceProfile,
  'bandwidth' | 'processorMs' | 'breakEvenGap' | 'smallestPiece' | 'largestRead'
>;

/** Sizes of a layer's FFN. */
export interface LayerSize {
  readonly neurons: number;
  readonly bundleBytes: number;
}

/** Expected reads of a token. */
export interface MissCost {
  readonly reads: number;
  /** Bytes read, those of gaps and of short reads that were raised included. */
  readonly bytes: number;
  /** Milliseconds of device and processor, one after the other. */
  readonly ms: number;
}

/** @param missed neurons that are read per token, on average; from 0 to all */
export function missCost(missed: number, layer: LayerSize, costs: ReadCosts): MissCost {
  const { neurons, bundleBytes } = layer;
  const whole = neurons * bundleBytes;
  if (missed <= 0) return { reads: 0, bytes: 0, ms: 0 };
  const { breakEvenGap, largestRead } = readLimits(costs);
  const share = Math.min(1, missed / neurons);
  // What is less than the smallest read in all is read as it is.
  const few = missed * bundleBytes < smallestRead;
  // Gaps of up to so many neurons are read over; those within the smallest read come anyway.
  const anyway = few ? 0 : smallestRead - bundleBytes;
  const most = Math.floor(Math.max(breakEvenGap, anyway) / bundleBytes);
  const longer = (1 - share) ** (most + 1);
  const runs = missed < 1 ? missed : 1 + (missed - 1) * longer;
  const bridged = Math.max(0, missed - 1) * bridgedNeurons(share, most);
  // A run ends with its first neuron as often as a gap is too long.
  const raised = few ? 0 : runs * longer * Math.max(0, smallestRead - bundleBytes);
  const bytes = Math.min(Math.max(whole, smallestRead), (missed + bridged) * bundleBytes + raised);
  const reads = Math.max(runs, bytes / largestRead);
  return { reads, bytes, ms: readMs(reads, bytes, costs) };
}

/** Milliseconds of so many reads of so many bytes in all. */
function readMs(
  reads: number,
  bytes: number,
  { bandwidth, processorMs }: Pick<ReadCosts, 'bandwidth' | 'processorMs'>,
): number {
  return reads * processorMs + (1000 * bytes) / bandwidth;
}

/** Mean length of a gap, gaps of more than `most` neurons counted as 0. */
function bridgedNeurons(share: number, most: number): number {
  const gap = 1 - share;
  const sum = 1 - (most + 1) * gap ** most + most * gap ** (most + 1);
  return (gap / share) * Math.max(0, sum);
}
