/**
 * Gives weights their places in DRAM. Weights that every token uses in full (attention, head, an FFN without
 * predictors) are worth the same per byte. Attention and head come first, then the same share of every
 * layer's FFN, so that reads spread evenly over a token; with predictors, the neurons that are wanted most
 * follow instead. Tables that are read by row come last: a row costs one read of 32 KiB per token whatever
 * the table's size.
 */

import { defaultProfile } from '../flash/device-profile.ts';
import { widestUnit } from '../flash/ffn-units.ts';
import { type Manifest, rowsOf, type StoredTensor } from '../flash/manifest.ts';
import { spanOf } from '../flash/row-range.ts';
import { headTensor } from '../models/spec.ts';
import { maxMemoryBytes } from '../pages.ts';
import { MIB } from '../units.ts';
import { allActivationsSizes } from './all-activations.ts';
import { ArenaSpace } from './arena-space.ts';
import {
  type ExpertPlan,
  expertStagingSlots,
  expertUnits,
  largestExpert,
  shareExpertSlots,
} from './expert-slots.ts';
import { type Fixed, firstAddress, predictorSizes } from './fixed-layout.ts';
import { proposable, proposalBookkeeping, proposalTensor } from './head-copy.ts';
import { type Staging, slotsBytes, stagingSlots } from './list-layout.ts';
import type { Residence, StorePlace } from './places.ts';
import { quantisedRoomBytes } from './quantised-room.ts';
import type { PlanRequest, PlanRequestBase } from './request.ts';
import { planRing, type StreamRing, smallestRing } from './ring.ts';
import { neuronsBeforeMatrices, shareSlots } from './share-slots.ts';
import { layoutTransferBuffers, type TransferBuffers } from './transfer-buffers.ts';
import { matricesInOrder, rowsThatFit, rowTables, wholeBytes } from './weight-order.ts';

/** The largest share of the room for the copy: it spares a token from reading four times as much. */
const largestProposalShare = 0.75;

const largestSparseRing = 8 * MIB;

/** The most bytes of one memory. */
export function memoryLimitOf({ memoryLimit = maxMemoryBytes }: PlanRequestBase): number {
  return memoryLimit;
}

/** Weights with their places, and the memory that these take. */
export interface Placed {
  readonly residences: ReadonlyMap<StoredTensor, Residence>;
  /** The head's copy, resident as a whole; null where there is none. */
  readonly headProposal: StoredTensor | null;
  /** Per layer, with predictors only. */
  readonly stores: readonly StorePlace[] | null;
  /** In the first memory; null where no neurons need staging. */
  readonly staging: Staging | null;
  /** For mixtures of experts only. */
  readonly experts: ExpertPlan | null;
  readonly ring: StreamRing | null;
  readonly arenas: readonly { readonly transfer: TransferBuffers; readonly memoryBytes: number }[];
  readonly memoryBytes: number;
  readonly residentBytes: number;
  /** Bytes of the slots of neurons or experts. */
  readonly storeBytes: number;
}

/** The buffers in the first memory before the weights. */
interface Reserve {
  readonly ring: StreamRing | null;
  readonly stagingSlots: number;
  readonly expertSlots: number;
  /** The copy that proposes in the head's place; null where there is none. */
  readonly proposal: StoredTensor | null;
}

/** Gives places to as many weights as fit, beside a ring and a staging area where they are needed. */
export function placeWeights(
  request: PlanRequest,
  chunk: number,
  fixed: Fixed,
  room: number,
): Placed {
  const { manifest, sparse } = request;
  const { matrices, bundles } = matricesInOrder(manifest);
  const limit = memoryLimitOf(request) - firstAddress - fixed.bytes;
  const whole = (tensors: readonly StoredTensor[], placed: Placed) =>
    tensors.every((tensor) => placed.residences.get(tensor)?.rows === rowsOf(tensor).rows);
  const place = (reserve: Reserve) => placeBeside(request, chunk, fixed, room, reserve);
  const nothing = { ring: null, stagingSlots: 0, expertSlots: 0, proposal: null };
  const everything = place(nothing);
  if (
    storesAreFull(manifest, everything) &&
    whole(sparse ? matrices : [...matrices, ...bundles], everything)
  )
    return everything;

  const { bundleBytes, allBytes } = bundleSizes(request);
  const slots = sparse ? stagingSlots(bundleBytes, allBytes, room) : 0;
  const expertSlots = expertStagingSlots(manifest, Math.min(limit, room), smallestRing(manifest));
  const staging = slotsBytes(slots, bundleBytes) + expertSlots * largestExpert(manifest);
  const proposal = proposalFor(request, room - staging);
  const reserve = { stagingSlots: slots, expertSlots, proposal };
  const without = place({ ...reserve, ring: null });
  const used = without.headProposal === null ? matrices : matrices.slice(0, -1);
  if (whole(sparse ? used : [...used, ...bundles], without)) return without;
  const rest = Math.min(limit, room) - staging;
  // With predictors, only attention and head pass through the ring.
  const largest = sparse ? Math.min(rest, largestSparseRing) : rest;
  return place({ ...reserve, ring: planRing(manifest, rest, largest) });
}

/** Whether every neuron that is chosen, or every expert, has a slot. */
export function storesAreFull(
  manifest: Manifest,
  { stores, experts }: Pick<Placed, 'stores' | 'experts'>,
): boolean {
  const units = expertUnits(manifest);
  return (
    (stores?.every(({ slots }, i) => slots === manifest.layers[i]?.neurons) ?? true) &&
    (experts?.stores.every((place, i) => place?.slots === units[i]?.count) ?? true)
  );
}

/**
 * The copy that proposes in the head's place, where this is allowed and the copy takes no large part of the
 * room.
 */
function proposalFor(
  { manifest, bestLogits, residency = 'all' }: PlanRequest,
  room: number,
): StoredTensor | null {
  const head = manifest.tensors.get(headTensor(manifest.spec));
  if (
    bestLogits === undefined ||
    residency !== 'all' ||
    head === undefined ||
    !proposable(head, bestLogits)
  )
    return null;
  const tensor = proposalTensor(head);
  return wholeBytes(tensor) <= largestProposalShare * room ? tensor : null;
}

/** Bytes of one unit in any layer, and of all units. */
export function bundleSizes({ manifest: { ffns } }: Pick<PlanRequest, 'manifest'>) {
  const all = ffns.flat();
  return {
    bundleBytes: Math.max(...all.map(({ unitBytes }) => unitBytes)),
    allBytes: all.reduce((sum, { count, unitBytes }) => sum + count * unitBytes, 0),
  };
}

function placeBeside(
  request: PlanRequest,
  chunk: number,
  fixed: Fixed,
  room: number,
  { ring, stagingSlots, expertSlots, proposal }: Reserve,
): Placed {
  const { manifest, context, threads, predictors, sparse, residency = 'all' } = request;
  const { readCosts = defaultProfile } = request;
  const { matrices, bundles } = matricesInOrder(manifest);
  const { bundleBytes } = bundleSizes(request);
  const ringAddress = firstAddress + fixed.bytes;
  const ringBytes = ring === null ? 0 : ring.slots * ring.slotBytes;
  const stagingAddress = ringAddress + ringBytes;
  const stagingBytes = slotsBytes(stagingSlots, bundleBytes);
  const transfer = layoutTransferBuffers(manifest.spec, {
    address: firstAddress,
    chunk,
    context,
    threads,
    widestUnit: widestUnit(manifest.ffns),
    predictors: predictors && predictorSizes(predictors),
    staging: stagingSlots === 0 ? null : { slots: stagingSlots, bundleBytes },
    downBytes: predictors === null ? 0 : (allActivationsSizes(manifest)?.downBytes ?? 0),
    quantisedBytes: quantisedRoomBytes(manifest, chunk),
  });
  const expertStaging = {
    address: stagingAddress + stagingBytes,
    slots: expertSlots,
    slotBytes: largestExpert(manifest),
  };
  const expertBytes = expertSlots * expertStaging.slotBytes;
  const mainEnd = expertStaging.address + expertBytes;
  const space = new ArenaSpace(memoryLimitOf(request), mainEnd, transfer.end);
  const residences = new Map<StoredTensor, Residence>();
  let free = room - ringBytes - stagingBytes - expertBytes;
  let residentBytes = 0;

  /** Makes up to `bytes` of `tensor` resident, whole blocks from its first row on. */
  const reside = (tensor: StoredTensor, bytes: number) => {
    const affordable = Math.min(bytes, free - (space.cost(bytes) - bytes), space.largest);
    const rows = rowsThatFit(tensor, affordable);
    if (rows === 0) return;
    const size = spanOf({ tensor, first: 0, count: rows }).bytes;
    free -= space.cost(size);
    residentBytes += size;
    residences.set(tensor, { ...space.take(size), rows });
  };
  let headProposal: StoredTensor | null = null;
  if (proposal !== null) {
    // All of it, or none.
    const bytes = wholeBytes(proposal);
    const bookkeeping = proposalBookkeeping(manifest.spec);
    if (bytes <= space.largest && space.cost(bytes) + bookkeeping <= free) {
      headProposal = proposal;
      free -= bookkeeping;
      reside(proposal, bytes);
    }
  }
  const own = headProposal === null ? matrices : matrices.slice(0, -1);
  // Where the matrices do not all fit beside the neurons that are worth more, each keeps the same share.
  const reserved =
    sparse && predictors !== null && residency === 'all'
      ? bundleBytes * neuronsBeforeMatrices(predictors.layers, bundleBytes, readCosts)
      : 0;
  let wanted = own.reduce((sum, tensor) => sum + wholeBytes(tensor), 0);
  if (residency !== 'none') {
    for (const tensor of own) {
      const bytes = wholeBytes(tensor);
      const room = Math.max(0, free - Math.min(reserved, free));
      reside(
        tensor,
        reserved === 0 ? Math.min(bytes, free) : Math.min(bytes, (room * bytes) / wanted),
      );
      wanted -= bytes;
    }
  }
  let stores: StorePlace[] | null = null;
  let storeBytes = 0;
  /** The place of a store with as many units as fit, at most `slots`. */
  const takeStore = (slots: number, unitBytes: number): StorePlace => {
    const size = (count: number) => slotsBytes(count, unitBytes);
    let count = slots;
    const affordable = Math.min(free - (space.cost(size(count)) - size(count)), space.largest);
    if (size(count) > affordable) {
      count = Math.max(0, Math.floor((affordable - 4096) / unitBytes));
    }
    if (count === 0) return { arena: 0, address: 0, slots: 0 };
    free -= space.cost(size(count));
    storeBytes += size(count);
    return { ...space.take(size(count)), slots: count };
  };
  if (predictors === null || !sparse) {
    // The same share of each layer's FFN, computed from the remaining free bytes; layers may differ in size.
    const kept = residency === 'all' ? bundles : [];
    let rest = kept.reduce((sum, tensor) => sum + wholeBytes(tensor), 0);
    for (const tensor of kept) {
      const bytes = wholeBytes(tensor);
      reside(tensor, free >= rest ? bytes : Math.floor((free * bytes) / rest));
      rest -= bytes;
    }
  } else {
    // Each store ends at a sector.
    const slots = Math.floor((free - manifest.layers.length * 4096) / bundleBytes);
    const shares = residency === 'all' ? shareSlots(predictors.layers, slots) : [];
    stores = manifest.layers.map((layer, index) =>
      takeStore(shares[index] ?? 0, layer.bundleBytes),
    );
  }
  let experts: ExpertPlan | null = null;
  if (manifest.spec.ffn.experts !== undefined) {
    const units = expertUnits(manifest);
    const shares = shareExpertSlots(units, residency === 'all' ? free : 0);
    experts = {
      stores: units.map((each, i) => each && takeStore(shares[i] ?? 0, each.unitBytes)),
      staging: expertSlots === 0 ? null : expertStaging,
      topK: request.expertsPerToken ?? manifest.spec.ffn.experts.topK,
    };
  }
  for (const table of residency === 'none' ? [] : rowTables(manifest)) {
    const bytes = wholeBytes(table);
    if (space.cost(bytes) <= free && bytes <= space.largest) reside(table, bytes);
  }
  const [memoryBytes = 0, ...ends] = space.ends;
  return {
    residences,
    headProposal,
    stores,
    experts,
    staging: stagingSlots === 0 ? null : { address: stagingAddress, slots: stagingSlots },
    ring: ring === null ? null : { ...ring, address: ringAddress },
    memoryBytes,
    arenas: ends.map((end) => ({ transfer, memoryBytes: end })),
    residentBytes,
    storeBytes,
  };
}
