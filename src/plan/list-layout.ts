/**
 * Further buffers of a memory for FFNs over lists of wanted neurons: tables of the entries in progress, and a
 * place for neurons that are not worth a slot (staging).
 */

import { alignUp } from '../units.ts';

/** Neurons of an FFN that are computed at once; this limits the memory for activations. */
export const neuronBlock = 1024;

/** The most ranges of ids that are summed separately; see assembly/ffn-list.ts. */
export const mostGroups = 32;
const smallestGroup = 64;

/**
 * Neurons of a group: there are few enough groups that adding their sums costs little, and enough for the
 * threads.
 */
export function groupSize(neurons: number): number {
  return Math.max(smallestGroup, Math.ceil(neurons / mostGroups));
}

export interface ListTables {
  /** u32 (neuronBlock): addresses of bundles, in the order in which they are computed. */
  readonly ups: number;
  /** The same in the order of ids. */
  readonly downs: number;
  /** u32 (neuronBlock): for each entry in the order of ids its place among those computed. */
  readonly order: number;
  /** u32 (neuronBlock) */
  readonly ids: number;
  /** u32: the ends of groups. */
  readonly bounds: number;
  /** f32 (neuronBlock) each: the biases of up rows and of gates. */
  readonly bias: number;
  readonly gateBias: number;
  /** (chunk, neuronBlock): activations in the order of ids, or scores. */
  readonly wanted: number;
  /** u32 (chunk, bitWords): the neurons that each position wants. */
  readonly bits: number;
}

/** Words of a position's bits. */
export function bitWords(neurons: number): number {
  return Math.ceil(neurons / 32);
}

/** Elements of a selection's buffers: ids of the units, and a row of bits for each position. */
export function selectionLengths({ units, rows }: { units: number; rows: number }): {
  readonly ids: number;
  readonly bits: number;
} {
  return { ids: units, bits: rows * bitWords(units) };
}

/** @param take allocates a place for a number of bytes */
export function layoutListTables(
  take: (bytes: number) => number,
  { chunk, neurons }: { readonly chunk: number; readonly neurons: number },
): ListTables {
  const table = () => take(neuronBlock * 4);
  return {
    ups: table(),
    downs: table(),
    order: table(),
    ids: table(),
    bounds: take((mostGroups + 1) * 4),
    bias: table(),
    gateBias: table(),
    wanted: take(chunk * neuronBlock * 4),
    bits: take(chunk * bitWords(neurons) * 4),
  };
}

/**
 * Neurons that are not worth a slot pass through here, in two halves: one is being read while the other is
 * computed.
 */
export interface Staging {
  readonly address: number;
  /** Number of slots of one bundle each; even. */
  readonly slots: number;
}

const largestStagingBytes = 4 * 1024 * 1024;
const smallStagingBytes = 2 * 1024 * 1024;

/** The fewest slots that keep a device busy, or a quarter of a small model's neurons. */
export function smallestStaging(bundleBytes: number, allBytes: number): number {
  return Math.max(2 * bundleBytes, Math.min(smallStagingBytes, allBytes / 4));
}

/** Staging slots for a plan with this much room. */
export function stagingSlots(bundleBytes: number, allBytes: number, room: number): number {
  const bytes = Math.max(
    smallestStaging(bundleBytes, allBytes),
    Math.min(largestStagingBytes, room / 16),
  );
  return Math.max(2, 2 * Math.floor(bytes / bundleBytes / 2));
}

/** Bytes of a number of slots, in whole sectors. */
export function slotsBytes(slots: number, bundleBytes: number): number {
  return alignUp(slots * bundleBytes, 4096);
}
