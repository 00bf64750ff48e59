/**
 * Gives weights their places in DRAM. What is used whole for every token (attention, head, an FFN
 * without predictors) is worth the same per byte, so it is taken in the order attention and head,
 * then the same share of every layer's FFN, so that reads spread evenly over a token; with
 * predictors, then the neurons that are wanted most. Tables that are read by row come last: a row
 * costs one read of 32 KiB per token whatever the table's size.
 */

import { rowsOf, type StoredTensor } from '../flash/manifest.ts';
import { spanOf } from '../flash/row-range.ts';
import { maxMemoryBytes } from '../pages.ts';
import { ArenaSpace, type Place } from './arena-space.ts';
import { type Desk, layoutDesk } from './desk.ts';
import { type Fixed, firstAddress, predictorSizes } from './fixed-layout.ts';
import { type Staging, slotsBytes, stagingSlots } from './list-layout.ts';
import type { PlanRequest, PlanRequestBase } from './plan.ts';
import { planRing, type StreamRing } from './ring.ts';
import { shareSlots } from './share-slots.ts';
import { matricesInOrder, rowsThatFit, rowTables, wholeBytes } from './weight-order.ts';

/** Bytes one memory may have. */
export function memoryLimitOf({ memoryLimit = maxMemoryBytes }: PlanRequestBase): number {
  return memoryLimit;
}

/** A tensor of which the first `rows` rows lie in DRAM, from `address` on in memory `arena`. */
export interface Residence extends Place {
  readonly rows: number;
}

/** Where a layer's neurons lie, `slots` bundles from `address` on; no slot: they only pass through. */
export interface StorePlace extends Place {
  readonly slots: number;
}

/** Weights with their places, and what that takes. */
export interface Placed {
  readonly residences: ReadonlyMap<StoredTensor, Residence>;
  /** Per layer, with predictors only. */
  readonly stores: readonly StorePlace[] | null;
  /** In the first memory; null where nothing passes through. */
  readonly staging: Staging | null;
  readonly ring: StreamRing | null;
  readonly arenas: readonly { readonly desk: Desk; readonly memoryBytes: number }[];
  readonly memoryBytes: number;
  readonly residentBytes: number;
  readonly storeBytes: number;
}

/** What is laid in the first memory before the weights. */
interface Reserve {
  readonly ring: StreamRing | null;
  readonly stagingSlots: number;
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
  const nothing = { ring: null, stagingSlots: 0 };
  if (!sparse) {
    const placed = place(nothing);
    if (whole([...matrices, ...bundles], placed)) return placed;
    return place({ ...nothing, ring: planRing(manifest, room, limit) });
  }
  const all = place(nothing);
  const full = manifest.layers.every(({ neurons }, i) => all.stores?.[i]?.slots === neurons);
  if (full && whole(matrices, all)) return all;
  const { bundleBytes, allBytes } = bundleSizes(request);
  const slots = stagingSlots(bundleBytes, allBytes, room);
  const withoutRing = place({ ring: null, stagingSlots: slots });
  if (whole(matrices, withoutRing)) return withoutRing;
  const rest = Math.min(limit, room) - slotsBytes(slots, bundleBytes);
  return place({ ring: planRing(manifest, rest, rest), stagingSlots: slots });
}

/** Of one neuron in any layer, and of all. */
export function bundleSizes({ manifest: { layers } }: Pick<PlanRequest, 'manifest'>) {
  return {
    bundleBytes: Math.max(...layers.map(({ bundleBytes }) => bundleBytes)),
    allBytes: layers.reduce((sum, { neurons, bundleBytes }) => sum + neurons * bundleBytes, 0),
  };
}

function placeBeside(
  request: PlanRequest,
  chunk: number,
  fixed: Fixed,
  room: number,
  { ring, stagingSlots }: Reserve,
): Placed {
  const { manifest, context, threads, predictors, sparse, residency = 'all' } = request;
  const { matrices, bundles } = matricesInOrder(manifest);
  const { bundleBytes } = bundleSizes(request);
  const ringAddress = firstAddress + fixed.bytes;
  const ringBytes = ring === null ? 0 : ring.slots * ring.slotBytes;
  const stagingAddress = ringAddress + ringBytes;
  const stagingBytes = slotsBytes(stagingSlots, bundleBytes);
  const desk = layoutDesk(manifest.spec, {
    address: firstAddress,
    chunk,
    context,
    threads,
    predictors: predictors && predictorSizes(predictors),
    staging: stagingSlots === 0 ? null : { slots: stagingSlots, bundleBytes },
  });
  const space = new ArenaSpace(memoryLimitOf(request), stagingAddress + stagingBytes, desk.end);
  const residences = new Map<StoredTensor, Residence>();
  let free = room - ringBytes - stagingBytes;
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
  if (residency !== 'none') {
    for (const tensor of matrices) reside(tensor, Math.min(wholeBytes(tensor), free));
  }
  let stores: StorePlace[] | null = null;
  let storeBytes = 0;
  if (predictors === null || !sparse) {
    // The same share of each layer's FFN: a share of what is still free, which shrinks as it goes.
    const kept = residency === 'all' ? bundles : [];
    kept.forEach((tensor, index) => {
      reside(tensor, Math.min(wholeBytes(tensor), Math.floor(free / (kept.length - index))));
    });
  } else {
    // Each store ends at a sector.
    const slots = Math.floor((free - manifest.layers.length * 4096) / bundleBytes);
    const shares = residency === 'all' ? shareSlots(predictors.layers, slots) : [];
    stores = manifest.layers.map((layer, index) => {
      const size = (count: number) => slotsBytes(count, layer.bundleBytes);
      let count = shares[index] ?? 0;
      const affordable = Math.min(free - (space.cost(size(count)) - size(count)), space.largest);
      if (size(count) > affordable) {
        count = Math.max(0, Math.floor((affordable - 4096) / layer.bundleBytes));
      }
      if (count === 0) return { arena: 0, address: 0, slots: 0 };
      free -= space.cost(size(count));
      storeBytes += size(count);
      return { ...space.take(size(count)), slots: count };
    });
  }
  for (const table of residency === 'none' ? [] : rowTables(manifest)) {
    const bytes = wholeBytes(table);
    if (space.cost(bytes) <= free && bytes <= space.largest) reside(table, bytes);
  }
  const [memoryBytes = 0, ...ends] = space.ends;
  return {
    residences,
    stores,
    staging: stagingSlots === 0 ? null : { address: stagingAddress, slots: stagingSlots },
    ring: ring === null ? null : { ...ring, address: ringAddress },
    memoryBytes,
    arenas: ends.map((end) => ({ desk, memoryBytes: end })),
    residentBytes,
    storeBytes,
  };
}
