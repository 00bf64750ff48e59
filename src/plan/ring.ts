/** The ring that streamed weights pass through: how large it must, may and should be. */

import { sectorBytes } from '../flash/layout.ts';
import type { Manifest, StoredTensor } from '../flash/manifest.ts';
import { blockBytesOf } from '../flash/row-range.ts';
import { alignUp, MIB } from '../units.ts';
import { matricesInOrder } from './weight-order.ts';

/** The ring that streamed weights pass through. */
export interface StreamRing {
  readonly address: number;
  readonly slots: number;
  readonly slotBytes: number;
}

const largestRingBytes = 32 * MIB;
const smallRingBytes = 4 * MIB;
const largestSlotBytes = MIB;
/** Reading and computing overlap with at least two slots. */
const fewestSlots = 2;
const mostSlots = 32;

/** A slot holds one block, at any offset within its sectors. */
export function slotBytesFor(tensors: readonly StoredTensor[], atLeast: number): number {
  const largest = Math.max(atLeast, ...tensors.map(blockBytesOf));
  return alignUp(largest, sectorBytes) + sectorBytes;
}

function smallestSlot(manifest: Manifest): number {
  const { matrices, bundles } = matricesInOrder(manifest);
  return slotBytesFor([...matrices, ...bundles], 32 * 1024);
}

/**
 * The largest slot within `ideal` that whole blocks fill, for the tensors with the largest blocks: blocks of
 * 0.7 MiB would leave a part of a slot of 1 MiB unused, which weights could use.
 */
function filledSlot(manifest: Manifest, ideal: number): number {
  const block = smallestSlot(manifest) - sectorBytes;
  return Math.max(1, Math.floor((ideal - sectorBytes) / block)) * block + sectorBytes;
}

/**
 * Room for reads in flight and for the rows being computed: 4 MiB keep a device of 1.5 GiB/s busy, while two
 * slots of 36 KiB gave a tenth of its rate. For a small model the ring should not take most of the model's
 * size.
 */
export function smallestRing(manifest: Manifest): number {
  const quarter = usedBytes(manifest) / 4;
  return Math.max(smallestSlot(manifest) * fewestSlots, Math.min(smallRingBytes, quarter));
}

/** A ring larger than the weights would be of no use. */
function largestRing(manifest: Manifest): number {
  return Math.max(Math.min(largestRingBytes, usedBytes(manifest)), smallestRing(manifest));
}

/** About an eighth of the room for reading ahead, in slots of up to 1 MiB. */
export function planRing(manifest: Manifest, room: number, largest: number): StreamRing {
  const ringBytes = Math.min(
    largest,
    largestRing(manifest),
    Math.max(smallestRing(manifest), room / 8),
  );
  const ideal = Math.min(largestSlotBytes, Math.floor(ringBytes / 8)) + sectorBytes;
  const slotBytes = filledSlot(manifest, ideal);
  const slots = Math.max(fewestSlots, Math.min(mostSlots, Math.floor(ringBytes / slotBytes)));
  return { address: 0, slots, slotBytes };
}

/** Bytes of all weights that a token uses. */
function usedBytes(manifest: Manifest): number {
  const { matrices, bundles } = matricesInOrder(manifest);
  return [...matrices, ...bundles].reduce((sum, { bytes }) => sum + bytes, 0);
}
