/**
 * Slots for experts. Each layer has as many as the others, since nothing is known of which experts are
 * wanted; those that no slot is worth pass through staging, which all layers share.
 */

import type { FfnUnits } from '../flash/ffn-units.ts';
import type { Manifest } from '../flash/manifest.ts';
import type { StorePlace } from './places.ts';

/** Slots that experts pass through, in the first memory. */
export interface ExpertStaging {
  readonly address: number;
  /** At least 2: one is read while another is computed. */
  readonly slots: number;
  /** Of the largest expert. */
  readonly slotBytes: number;
}

/** Where experts lie. */
export interface ExpertPlan {
  /** Per layer; null where a layer has no experts. */
  readonly stores: readonly (StorePlace | null)[];
  /** Null where every expert has a slot. */
  readonly staging: ExpertStaging | null;
  /** Experts that a token takes: the model's, or fewer where that was asked for. */
  readonly topK: number;
}

/** With two, one expert is read while another is computed. */
const fewestStagingSlots = 2;
/** A part of the room for weights that more staging slots than these may take. */
const largestStagingShare = 1 / 16;

/** The experts of each layer; null where it has none. */
export function expertUnits({ ffns }: Pick<Manifest, 'ffns'>): (FfnUnits | null)[] {
  return ffns.map((layer) => layer.find(({ kind }) => kind === 'expert') ?? null);
}

/** Bytes of the largest expert; 0 where there are none. */
export function largestExpert(manifest: Pick<Manifest, 'ffns'>): number {
  return Math.max(0, ...expertUnits(manifest).map((units) => units?.unitBytes ?? 0));
}

/** The least that experts pass through in, in bytes. */
export function smallestExpertStaging(manifest: Pick<Manifest, 'ffns'>): number {
  return fewestStagingSlots * largestExpert(manifest);
}

/**
 * Staging slots where there is so much room for weights: as many as the model's tokens take experts, where
 * that is little of it.
 * @param ringBytes the least that has to be left of it
 */
export function expertStagingSlots(
  { spec, ffns }: Manifest,
  room: number,
  ringBytes: number,
): number {
  const { experts } = spec.ffn;
  if (experts === undefined) return 0;
  const bytes = Math.min(room * largestStagingShare, room - ringBytes);
  const affordable = Math.floor(bytes / largestExpert({ ffns }));
  return Math.max(fewestStagingSlots, Math.min(experts.topK, affordable));
}

/**
 * Slots for each layer in `free` bytes: in all layers the same number, and one more in the first of them
 * as far as there is room.
 */
export function shareExpertSlots(layers: readonly (FfnUnits | null)[], free: number): number[] {
  const present = layers.flatMap((units) => units ?? []);
  const perSlot = present.reduce((sum, { unitBytes }) => sum + unitBytes, 0);
  const each = perSlot === 0 ? 0 : Math.max(0, Math.floor(free / perSlot));
  let rest = free - each * perSlot;
  return layers.map((units) => {
    if (units === null) return 0;
    if (each >= units.count) return units.count;
    const more = rest >= units.unitBytes ? 1 : 0;
    rest -= more * units.unitBytes;
    return each + more;
  });
}
