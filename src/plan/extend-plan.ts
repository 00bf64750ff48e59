/**
 * Extends a plan by the memory that a draft leaves: it becomes one more arena, and rows that were streamed lie
 * there from then on.
 *
 *     a tensor's rows | residence | extension | streamed |
 *     the arena       | transfer buffers | extension of layer 0's FFN | of layer 1's | ... | of matrices | free |
 */

import { widestUnit } from '../flash/ffn-units.ts';
import { sectorBytes } from '../flash/layout.ts';
import { type Manifest, rowsOf, type StoredTensor } from '../flash/manifest.ts';
import { cutRows, type RowRange, spanOf } from '../flash/row-range.ts';
import { neuronGroup } from '../kernels/weight-kernels.ts';
import { firstAddress } from './fixed-layout.ts';
import { type PlanItem, type PlanItemId, planItem } from './items.ts';
import { type MemoryPlan, sealPlan } from './memory-plan.ts';
import { storesAreFull } from './placement.ts';
import type { Extension } from './places.ts';
import { quantisedRoomBytes } from './quantised-room.ts';
import { layoutTransferBuffers } from './transfer-buffers.ts';
import { rowTables, wholeBytes } from './weight-order.ts';

/**
 * The plan of a model that goes on in the same memories and in another one. The same share of every layer's
 * streamed FFN rows gets a place, then the other matrices, then tables that are read by row. Neurons and
 * experts that are chosen one by one keep their stores.
 * @param plan of a model with a draft
 * @param memoryBytes of the memory that the draft leaves; no more is used than the plan counts for the draft
 * @returns null where no row that is streamed would get a place
 */
export function extendPlan(
  plan: MemoryPlan,
  manifest: Manifest,
  memoryBytes: number,
): MemoryPlan | null {
  const { ring, chunk, context, threads } = plan;
  if (ring === null) return null;
  const transfer = layoutTransferBuffers(manifest.spec, {
    ...{ address: firstAddress, chunk, context, threads },
    widestUnit: widestUnit(manifest.ffns),
    quantisedBytes: quantisedRoomBytes(manifest, chunk),
    // Neither stores nor down columns that wait lie there.
    ...{ predictors: null, staging: null, downBytes: 0 },
  });
  const draftBytes = plan.items.find(({ id }) => id === 'draft')?.bytes ?? 0;
  const limit = Math.min(memoryBytes, draftBytes);
  const arena = plan.arenas.length + 1;
  const extensions = new Map<StoredTensor, Extension>();
  let end = transfer.end;

  /** Gives a place to as many of the rows as `bytes` hold, in steps that stay together in memory. */
  const reside = (rows: RowRange, bytes: number) => {
    const count = rowsWithin(rows, Math.min(bytes, limit - end), stepOf(manifest, rows.tensor));
    if (count === 0) return;
    const { tensor, first } = rows;
    extensions.set(tensor, { arena, address: end, first, rows: count });
    end += spanOf({ tensor, first, count }).bytes;
  };
  /** Gives the same share of each a place. */
  const share = (all: readonly RowRange[]) => {
    let wanted = sum(all.map((rows) => spanOf(rows).bytes));
    for (const rows of all) {
      const { bytes } = spanOf(rows);
      const room = limit - end;
      reside(rows, room >= wanted ? bytes : Math.floor((room * bytes) / wanted));
      wanted -= bytes;
    }
  };
  const streamed = joined([...plan.body, ...plan.head]);
  const units = new Set(manifest.ffns.flat().map(({ tensor }) => tensor));
  share(streamed.filter(({ tensor }) => units.has(tensor.name)));
  share(streamed.filter(({ tensor }) => !units.has(tensor.name)));
  if (extensions.size === 0) return null;
  const movedBytes = sum(
    [...extensions].map(([tensor, { rows }]) => rows * rowsOf(tensor).rowBytes),
  );
  for (const tensor of rowTables(manifest).filter((table) => !plan.residences.has(table))) {
    const bytes = wholeBytes(tensor);
    if (bytes <= limit - end) reside({ tensor, first: 0, count: rowsOf(tensor).rows }, bytes);
  }

  const stream = (ranges: readonly RowRange[]) =>
    joined(ranges).flatMap(({ tensor, first }) => {
      const from = first + (extensions.get(tensor)?.rows ?? 0);
      return cutRows(tensor, ring.slotBytes - sectorBytes, from);
    });
  const [body, head] = [stream(plan.body), stream(plan.head)];
  const inDram = (tensor: StoredTensor) =>
    (plan.residences.get(tensor)?.rows ?? 0) + (extensions.get(tensor)?.rows ?? 0);
  return sealPlan({
    ...plan,
    arenas: [...plan.arenas, { transfer, memoryBytes: end }],
    items: itemsAfter(plan, transfer.end, end - transfer.end),
    extensions,
    body,
    head,
    streamedBytes: plan.streamedBytes - movedBytes,
    fitsWhole:
      body.length + head.length === 0 &&
      storesAreFull(manifest, { stores: plan.sparse?.stores ?? null, experts: plan.experts }) &&
      rowTables(manifest).every((table) => inDram(table) === rowsOf(table).rows),
  });
}

/** The draft's item gives its bytes to weights and transfer buffers. */
function itemsAfter(plan: MemoryPlan, transferBytes: number, weightBytes: number): PlanItem[] {
  const { threads, chunk, kvCache } = plan;
  const { positions, sequences, dtype: kvDtype } = kvCache;
  const added = new Map<PlanItemId, number>([
    ['draft', -transferBytes - weightBytes],
    ['weights', weightBytes],
    ['transferBuffers', transferBytes],
  ]);
  const items = plan.items.map((item) => ({
    ...item,
    bytes: item.bytes + (added.get(item.id) ?? 0),
  }));
  if (plan.items.some(({ id }) => id === 'transferBuffers')) return items;
  const facts = { threads, chunk, positions, sequences, kvDtype };
  return [...items, planItem('transferBuffers', transferBytes, facts)];
}

/** For each tensor of some ranges, in their order, all of its rows: streamed rows follow each other. */
function joined(ranges: readonly RowRange[]): RowRange[] {
  const all = new Map<StoredTensor, RowRange>();
  for (const range of ranges) {
    const { tensor, count } = range;
    const before = all.get(tensor);
    all.set(tensor, before === undefined ? range : { ...before, count: before.count + count });
  }
  return [...all.values()];
}

/**
 * Rows that are given a place together: whole blocks, and as many as are rearranged together (rows-apart.ts,
 * packing.ts).
 */
function stepOf(manifest: Manifest, tensor: StoredTensor): number {
  const kind = manifest.ffns.flat().find((units) => units.tensor === tensor.name)?.kind;
  const together = kind === undefined ? 4 : kind === 'neuron' ? neuronGroup : 1;
  let step = tensor.rowsPerBlock;
  while (step % together !== 0) step += tensor.rowsPerBlock;
  return step;
}

/** All of the rows if their sectors take at most `bytes`; else as many steps from the first on as fit. */
function rowsWithin(rows: RowRange, bytes: number, step: number): number {
  if (spanOf(rows).bytes <= bytes) return rows.count;
  const stepBytes = step * rowsOf(rows.tensor).rowBytes;
  return Math.max(0, Math.floor((bytes - 2 * sectorBytes) / stepBytes)) * step;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
