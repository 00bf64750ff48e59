/** Makes the plan: the number of positions at once, the fixed part, and the room left for weights. */

import { BudgetError } from '../errors.ts';
import { sectorBytes } from '../flash/layout.ts';
import { rowsOf, type StoredTensor } from '../flash/manifest.ts';
import { cutRows, type RowRange } from '../flash/row-range.ts';
import { threadResidentBytes } from '../kernels/threads/pool.ts';
import { formatBytes, MIB } from '../units.ts';
import { expertDemand } from './expert-demand.ts';
import { smallestExpertStaging } from './expert-slots.ts';
import { type Fixed, firstAddress, layoutFixed, type PredictorDemand } from './fixed-layout.ts';
import { listItems, type PlanItem, type PlanItemId, planItem } from './items.ts';
import { kvRowBytes } from './kv-layout.ts';
import { slotsBytes, smallestStaging } from './list-layout.ts';
import { type MemoryPlan, sealPlan } from './memory-plan.ts';
import { bundleSizes, memoryLimitOf, placeWeights, storesAreFull } from './placement.ts';
import type { StorePlace } from './places.ts';
import type { PlanRequest, PlanRequestBase } from './request.ts';
import { smallestRing } from './ring.ts';
import { wantedOf } from './share-slots.ts';
import { matricesInOrder, rowTables, usedMatrices } from './weight-order.ts';

/** Chunk sizes tried from large to small until the activations are a small part of the budget. */
const chunkSizes = [1024, 512, 256, 128, 64, 32, 16, 8];
/**
 * The share of the room for weights that a chunk may take; the second one is for chunks of more than 64
 * positions.
 */
const chunkShare = 1 / 4;
const largeChunkShare = 1 / 16;

/**
 * Makes the plan.
 * @throws BudgetError below the floor, with the floor item by item
 */
export function planMemory(request: PlanRequest): MemoryPlan {
  const { dramBudget, processBytes } = request;
  const memoryLimit = memoryLimitOf(request);
  const smallest = smallestChunk(request);
  const chunks = chunkSizes.filter((size) => size < request.chunk && size >= smallest);
  for (const chunk of [request.chunk, ...chunks]) {
    const fixed = layoutFixed(request, chunk);
    const outside = fixed.bookkeepingBytes + fixed.sequenceBytes + (request.draftBytes ?? 0);
    const free = dramBudget - processBytes - outside - threadBytes(request);
    const room = free - fixed.bytes;
    // The ring and staging must lie in the first memory, with the fixed part.
    const passage = smallestPassage(request);
    if (firstAddress + fixed.bytes + passage > memoryLimit) continue;
    // A large chunk may take some of the memory, not most of it.
    const share = chunk > 64 ? largeChunkShare : chunkShare;
    const generous = fixed.activationBytes <= Math.max(0, free) * share;
    const last = chunk === smallest;
    if (room >= passage && (generous || last)) {
      return makePlan(request, chunk, fixed, room);
    }
  }
  throw belowFloor(request);
}

function makePlan(request: PlanRequest, chunk: number, fixed: Fixed, room: number): MemoryPlan {
  const { manifest, dramBudget, context, threads, predictors } = request;
  const { matrices, bundles, body, head } = matricesInOrder(manifest);
  const placed = placeWeights(request, chunk, fixed, room);
  const { residences, ring, arenas, stores, staging, headProposal, experts } = placed;
  const { staging: expertStaging = null } = experts ?? {};

  const slotBytes = (ring?.slotBytes ?? sectorBytes) - sectorBytes;
  const stream = (tensors: readonly StoredTensor[]) =>
    tensors.flatMap((tensor) => cutRows(tensor, slotBytes, residences.get(tensor)?.rows ?? 0));
  // Neurons that a predictor chooses are read one by one.
  const streamedBody = stream(stores === null ? body : body.filter((t) => !bundles.includes(t)));
  // There may be a projection before the head itself; it is streamed as usual.
  const streamedHead = stream(headProposal === null ? head : head.slice(0, -1));
  const bytesOf = ({ tensor, count }: RowRange) => count * rowsOf(tensor).rowBytes;
  const demand = predictors && stores && neuronDemand(request, predictors, stores);
  const routed = experts && expertDemand(manifest, experts);
  const { bundleBytes } = bundleSizes(request);
  const item = (id: PlanItemId, bytes: number) => planItem(id, bytes, { ...request, chunk });
  return sealPlan({
    dramBudget,
    context,
    chunk,
    logitPositions: fixed.logitPositions,
    threads,
    memoryBytes: placed.memoryBytes,
    arenas,
    items: [
      ...fixedItems(request, chunk, fixed),
      item('weights', placed.residentBytes - (headProposal?.bytes ?? 0)),
      item('ring', ring === null ? 0 : ring.slotBytes * ring.slots),
      ...[
        item('headProposal', headProposal?.bytes ?? 0),
        ...optionalItems(request, chunk, fixed),
        item(experts === null ? 'stores' : 'experts', placed.storeBytes),
        item('expertStaging', expertStaging ? expertStaging.slots * expertStaging.slotBytes : 0),
        item('staging', slotsBytes(staging?.slots ?? 0, bundleBytes)),
        item('transferBuffers', sum(arenas.map(({ transfer }) => transfer.end))),
      ].filter(({ bytes }) => bytes > 0),
    ],
    vectors: { tensors: fixed.vectors, address: fixed.vectorAddress },
    kvCache: fixed.kv,
    activations: fixed.activations,
    threadScratch: fixed.threadScratch,
    rowStaging: fixed.rowStaging,
    residences,
    extensions: new Map(),
    headProposal,
    predictors: predictors && { ...predictors, address: fixed.predictorAddress },
    sparse: stores && { stores, staging },
    experts,
    ring,
    body: streamedBody,
    head: streamedHead,
    streamedBytes:
      sum([...streamedBody, ...streamedHead].map(bytesOf)) +
      (demand?.missingBytes ?? 0) +
      (routed?.missingBytes ?? 0),
    usedBytes:
      sum(usedMatrices(matrices, headProposal).map(({ bytes }) => bytes)) +
      (routed?.bytes ?? 0) +
      (demand?.bytes ?? sum(bundles.map(({ bytes }) => bytes))),
    fitsWhole:
      storesAreFull(manifest, placed) &&
      [...matrices, ...(stores === null ? bundles : []), ...rowTables(manifest)].every(
        (tensor) => residences.get(tensor)?.rows === rowsOf(tensor).rows,
      ),
    choice: null,
  });
}

/** Mean bytes of neurons that a token wants, and those of them not in their store. */
function neuronDemand(
  { manifest }: PlanRequest,
  { layers }: PredictorDemand,
  stores: readonly StorePlace[],
): { readonly bytes: number; readonly missingBytes: number } {
  let bytes = 0;
  let missingBytes = 0;
  layers.forEach(({ frequency }, index) => {
    const { bundleBytes } = manifest.layers[index] ?? { bundleBytes: 0 };
    const { named, missed } = wantedOf(frequency, stores[index]?.slots ?? 0);
    bytes += named * bundleBytes;
    missingBytes += missed * bundleBytes;
  });
  return { bytes: Math.round(bytes), missingBytes: Math.round(missingBytes) };
}

/** Bytes of the threads themselves, unless another plan counts them. */
function threadBytes({ threads, beside }: PlanRequestBase): number {
  return beside ? 0 : threadResidentBytes(threads);
}

/** The smallest ring and staging with which the model can run. */
function smallestPassage(request: PlanRequestBase): number {
  const ring = smallestRing(request.manifest) + smallestExpertStaging(request.manifest);
  if (!request.sparse) return ring;
  const { bundleBytes, allBytes } = bundleSizes(request);
  return ring + slotsBytes(1, smallestStaging(bundleBytes, allBytes));
}

/**
 * The fewest positions at once: with one, a prompt would read the whole model for each token; with fewer
 * positions than sequences, some sequences would do the same.
 */
function smallestChunk({ chunk, sequences }: PlanRequestBase): number {
  const enough = chunkSizes.filter((size) => size >= sequences);
  return Math.min(chunk, ...(enough.length === 0 ? chunkSizes.slice(0, 1) : enough));
}

/** The part that does not depend on the budget. */
function fixedItems(request: PlanRequestBase, chunk: number, fixed: Fixed): PlanItem[] {
  const { processBytes, threads } = request;
  const item = (id: PlanItemId, bytes: number) => planItem(id, bytes, { ...request, chunk });
  return [
    item('process', processBytes),
    ...(threads === 1 ? [] : [item('threads', threadBytes(request) + fixed.threadBytes)]),
    item('vectors', fixed.vectorBytes),
    item('kvCache', fixed.kv.cacheBytes),
    item('activations', fixed.activationBytes),
    item('rowStaging', fixed.rowStaging.slotBytes * fixed.rowStaging.slots),
  ];
}

/** The same for items that not every plan has. */
function optionalItems(request: PlanRequestBase, chunk: number, fixed: Fixed): PlanItem[] {
  const { predictors } = request;
  const item = (id: PlanItemId, bytes: number) => planItem(id, bytes, { ...request, chunk });
  return [
    item('predictors', fixed.predictorBytes),
    item(predictors === null ? 'expertBookkeeping' : 'bookkeeping', fixed.bookkeepingBytes),
    item('sequences', fixed.sequenceBytes),
    item('draft', request.draftBytes ?? 0),
  ].filter(({ bytes }) => bytes > 0);
}

/** The smallest budget that a request can be planned for, and its items. */
export function planFloor(request: PlanRequestBase): {
  readonly bytes: number;
  readonly items: readonly PlanItem[];
} {
  const chunk = smallestChunk(request);
  const fixed = layoutFixed(request, chunk);
  const experts = smallestExpertStaging(request.manifest);
  const items = [
    ...fixedItems(request, chunk, fixed),
    planItem('ring', smallestPassage(request) - experts, { ...request, chunk }),
    ...(experts === 0 ? [] : [planItem('expertStaging', experts, { ...request, chunk })]),
    ...optionalItems(request, chunk, fixed),
  ];
  const alignmentBytes = sectorBytes * (items.length + 1);
  return { bytes: sum(items.map(({ bytes }) => bytes)) + alignmentBytes, items };
}

function belowFloor(request: PlanRequest): BudgetError {
  const { manifest, processBytes, dramBudget, kvDtype, threads, sequences } = request;
  const { beside = false, draftBytes = 0 } = request;
  const memoryLimit = memoryLimitOf(request);
  const floor = planFloor(request);
  const listed = listItems(floor.items);
  const inFirstMemory = floor.bytes - processBytes - threadBytes(request) - draftBytes;
  if (inFirstMemory > memoryLimit) {
    return new BudgetError(
      `${formatBytes(inFirstMemory)} do not fit the first WebAssembly memory, which has at most ${formatBytes(memoryLimit)}: ${listed}`,
      {},
      'Ask for a shorter context (--context, --max-tokens)',
    );
  }
  return new BudgetError(
    `${beside ? "the draft's --draft-budget" : '--dram-budget'} ${formatBytes(dramBudget)} ` +
      `is below the floor of ${formatBytes(floor.bytes)}: ${listed}`,
    {},
    `Give at least ${Math.ceil(floor.bytes / MIB)}MiB, or ask for a shorter context (${sequences > 1 ? '' : '--max-tokens, '}--context): the KV cache takes ` +
      `${formatBytes(manifest.spec.layers * kvRowBytes(manifest.spec, kvDtype))} per position` +
      (kvDtype === 'f32' ? ', half of that with --kv-dtype f16' : '') +
      (sequences > 1 ? '; or for fewer sequences at once (--parallel)' : '') +
      (draftBytes > 0 ? '; or for a smaller draft (--draft-budget), or none' : '') +
      (threads > 1 ? '; or for fewer threads' : ''),
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
