/**
 * Slots for experts. All layers have the same number, since it is unknown which experts will be wanted;
 * experts that are not worth a slot pass through staging, which all layers share.
 */

import type { FfnUnits } from '../flash/ffn-units.ts';
import type { Manifest } from '../flash/manifest.ts';
import type { StorePlace } from './places.ts';

/** Staging slots in the first memory. */
export interface ExpertStaging {
  readonly address: number;
  /** At least 2: one is read while another is computed. */
  readonly slots: number;
  /** Bytes of the largest expert. */
  readonly slotBytes: number;
}

/** The places of experts. */
export interface ExpertPlan {
  /** Per layer; null where a layer has no experts. */
  readonly stores: readonly (StorePlace | null)[];
  /** Null where every expert has a slot. */
  readonly staging: ExpertStaging | null;
  /** Experts that a token takes: the model's number, or fewer where the request says so. */
  readonly topK: number;
}

/** With two, one expert is read while another is computed. */
const fewestStagingSlots = 2;
/** The share of the room for weights that further staging slots may take. */
const largestStagingShare = 1 / 16;

/** The experts of each layer; null where it has none. */
export function expertUnits({ ffns }: Pick<Manifest, 'ffns'>): (FfnUnits | null)[] {
  return ffns.map((layer) => layer.find(({ kind }) => kind === 'expert') ?? null);
}

/** Bytes of the largest expert; 0 where there are none. */
export function largestExpert(manifest: Pick<Manifest, 'ffns'>): number {
  return Math.max(0, ...expertUnits(manifest).map((units) => units?.unitBytes ?? 0));
}

/** Bytes of the smallest staging area. */
export function smallestExpertStaging(manifest: Pick<Manifest, 'ffns'>): number {
  return fewestStagingSlots * largestExpert(manifest);
}

/**
 * Number of staging slots for a given room for weights: as many as a token takes experts, where that is a
 * small part of the room.
 * @param ringBytes the bytes of it that must be left for the ring
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
 * Slots for each layer in `free` bytes: the same number in all layers, and one more in the first layers as
 * far as there is room.
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
