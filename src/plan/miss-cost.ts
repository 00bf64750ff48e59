/**
 * Estimates the cost of reading a layer's missed neurons (wanted but not in DRAM) without planning the reads:
 * misses lie anywhere in the layer, the gaps between them are geometrically distributed, and short gaps are
 * read over as in `planReads`. Where misses are dense, the estimate approaches one pass over the whole layer,
 * so that a bad predictor never looks cheaper than it is.
 */

import { type DeviceProfile, readLimits } from '../flash/device-profile.ts';
import { smallestRead } from '../flash/read-plan.ts';

/** The costs of reading, for the device and for the processor that submits requests. */
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
  /** Bytes read, including gaps and short reads rounded up. */
  readonly bytes: number;
  /** Milliseconds of device and processor, one after the other. */
  readonly ms: number;
}

/** @param missed mean number of neurons read per token; from 0 to all */
export function missCost(missed: number, layer: LayerSize, costs: ReadCosts): MissCost {
  const { neurons, bundleBytes } = layer;
  const whole = neurons * bundleBytes;
  if (missed <= 0) return { reads: 0, bytes: 0, ms: 0 };
  const { breakEvenGap, largestRead } = readLimits(costs);
  const share = Math.min(1, missed / neurons);
  // A total below the smallest read is read without rounding.
  const few = missed * bundleBytes < smallestRead;
  // Gaps of up to `most` neurons are read over; gaps within the smallest read are read anyway.
  const anyway = few ? 0 : smallestRead - bundleBytes;
  const most = Math.floor(Math.max(breakEvenGap, anyway) / bundleBytes);
  const longer = (1 - share) ** (most + 1);
  const runs = missed < 1 ? missed : 1 + (missed - 1) * longer;
  const bridged = Math.max(0, missed - 1) * bridgedNeurons(share, most);
  // A run is a single neuron, which is rounded up, with the probability of a gap too long to bridge.
  const raised = few ? 0 : runs * longer * Math.max(0, smallestRead - bundleBytes);
  const bytes = Math.min(Math.max(whole, smallestRead), (missed + bridged) * bundleBytes + raised);
  const reads = Math.max(runs, bytes / largestRead);
  return { reads, bytes, ms: readMs(reads, bytes, costs) };
}

/** Milliseconds of a number of reads with a total number of bytes. */
function readMs(
  reads: number,
  bytes: number,
  { bandwidth, processorMs }: Pick<ReadCosts, 'bandwidth' | 'processorMs'>,
): number {
  return reads * processorMs + (1000 * bytes) / bandwidth;
}

/** Mean length of a gap, where gaps of more than `most` neurons count as 0. */
function bridgedNeurons(share: number, most: number): number {
  const gap = 1 - share;
  const sum = 1 - (most + 1) * gap ** most + most * gap ** (most + 1);
  return (gap / share) * Math.max(0, sum);
}
