/**
 * The plan: what stays in DRAM, what is streamed, and at which address everything lies. It is made
 * from sizes alone, before any weight is read, and never changes afterwards.
 *
 * The first WebAssembly memory holds, from low to high addresses:
 *
 *   vectors | KV cache | predictors | activations | thread scratch | row staging | stream ring |
 *   neuron staging | resident weights and neuron stores
 *
 * Weights beyond its end lie in further memories, behind a desk each (desk.ts). Which weights get a
 * place is decided in placement.ts.
 */

import { BudgetError } from '../errors.ts';
import { sectorBytes } from '../flash/layout.ts';
import { rowsOf, type StoredTensor } from '../flash/manifest.ts';
import { cutRows, type RowRange } from '../flash/row-range.ts';
import { type ThreadScratch, threadResidentBytes } from '../kernels/threads/pool.ts';
import { formatBytes, MIB } from '../units.ts';
import type { Activations } from './activations.ts';
import type { Desk } from './desk.ts';
import type { FfnChoice } from './ffn-way.ts';
import { type Fixed, firstAddress, layoutFixed, type PredictorDemand } from './fixed-layout.ts';
import { type KvLayout, kvRowBytes } from './kv-layout.ts';
import { type Staging, slotsBytes, smallestStaging } from './list-layout.ts';
import { bundleSizes, memoryLimitOf, placeWeights } from './placement.ts';
import type { Residence, StorePlace } from './places.ts';
import type { PlanRequest, PlanRequestBase } from './request.ts';
import { type StreamRing, smallestRing } from './ring.ts';
import { wantedOf } from './share-slots.ts';
import { matricesInOrder, rowTables, usedMatrices } from './weight-order.ts';

export interface PlanItem {
  readonly name: string;
  readonly bytes: number;
}

/** The item of a head's copy in few bits. */
export const headProposalItem = 'head, in 4 bits to propose with';

/** Predictors in memory. */
export interface PredictorPlan extends PredictorDemand {
  /** Where their weights begin, in the first memory. */
  readonly address: number;
}

/** FFNs over the neurons that predictors choose. */
export interface SparsePlan {
  /** Per layer. */
  readonly stores: readonly StorePlace[];
  /** In the first memory; null where all neurons fit. */
  readonly staging: Staging | null;
}

export interface MemoryPlan {
  readonly dramBudget: number;
  readonly context: number;
  readonly chunk: number;
  /** Positions whose logits have room at once. */
  readonly logitPositions: number;
  readonly threads: number;
  /** Bytes of the first memory, which holds all but weights. */
  readonly memoryBytes: number;
  /** Further memories, for weights beyond what one can hold; arena 1 is the first of these. */
  readonly arenas: readonly { readonly desk: Desk; readonly memoryBytes: number }[];
  /** What the budget is spent on; the sum is at most the budget. */
  readonly items: readonly PlanItem[];
  readonly vectors: { readonly tensors: readonly StoredTensor[]; readonly address: number };
  readonly kvCache: KvLayout;
  readonly activations: Activations;
  /** What each thread but the first keeps for itself. */
  readonly threadScratch: ThreadScratch;
  /** Slots for rows of tables that are not resident. */
  readonly rowStaging: StreamRing;
  readonly residences: ReadonlyMap<StoredTensor, Residence>;
  /** The head's copy in few bits, one of the residences; null where the head itself is used. */
  readonly headProposal: StoredTensor | null;
  readonly predictors: PredictorPlan | null;
  /** Null: every neuron is computed. */
  readonly sparse: SparsePlan | null;
  /** Null when nothing is streamed. */
  readonly ring: StreamRing | null;
  /** What a token streams, in order; the head's part apart, since only some passes need it. */
  readonly body: readonly RowRange[];
  readonly head: readonly RowRange[];
  /** Bytes read from flash for each token, rows of tables not counted. */
  readonly streamedBytes: number;
  /** Bytes of weights that each token uses. */
  readonly usedBytes: number;
  /** Whether all weights are in DRAM. */
  readonly fitsWhole: boolean;
  /** Whether predictors pay at this budget; null where that was not asked. */
  readonly choice: FfnChoice | null;
}

/** Chunk sizes tried from large to small until the activations are a small part of the budget. */
const chunkSizes = [64, 32, 16, 8];

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
    const outside = fixed.bookkeepingBytes + fixed.sequenceBytes;
    const free = dramBudget - processBytes - outside - threadResidentBytes(request.threads);
    const room = free - fixed.bytes;
    // What weights pass through must lie in the first memory, with everything that is fixed.
    const passage = smallestPassage(request);
    if (firstAddress + fixed.bytes + passage > memoryLimit) continue;
    // A large chunk is worth some memory, not most of it.
    const generous = fixed.activationBytes <= Math.max(0, free) / 4;
    const last = chunk === smallest;
    if (room >= passage && (generous || last)) {
      return makePlan(request, chunk, fixed, room);
    }
  }
  throw belowFloor(request);
}

function makePlan(request: PlanRequest, chunk: number, fixed: Fixed, room: number): MemoryPlan {
  const { manifest, dramBudget, context, sequences, threads, predictors } = request;
  const { matrices, bundles, body, head } = matricesInOrder(manifest);
  const placed = placeWeights(request, chunk, fixed, room);
  const { residences, ring, arenas, stores, staging, headProposal } = placed;

  const slotBytes = (ring?.slotBytes ?? sectorBytes) - sectorBytes;
  const stream = (tensors: readonly StoredTensor[]) =>
    tensors.flatMap((tensor) => cutRows(tensor, slotBytes, residences.get(tensor)?.rows ?? 0));
  // Neurons that a predictor chooses are read one by one.
  const streamedBody = stream(stores === null ? body : body.filter((t) => !bundles.includes(t)));
  // Before the head itself there may be a projection, which is streamed as ever.
  const streamedHead = stream(headProposal === null ? head : head.slice(0, -1));
  const bytesOf = ({ tensor, count }: RowRange) => count * rowsOf(tensor).rowBytes;
  const demand = predictors && stores && neuronDemand(request, predictors, stores);
  const { bundleBytes } = bundleSizes(request);
  const optional = [
    { name: headProposalItem, bytes: headProposal?.bytes ?? 0 },
    { name: 'predictors', bytes: fixed.predictorBytes },
    { name: 'neuron book-keeping', bytes: fixed.bookkeepingBytes },
    { name: `logits of ${sequences} sequences`, bytes: fixed.sequenceBytes },
    { name: 'neuron stores', bytes: placed.storeBytes },
    { name: 'neuron staging', bytes: slotsBytes(staging?.slots ?? 0, bundleBytes) },
    { name: 'arena desks', bytes: sum(arenas.map(({ desk }) => desk.end)) },
  ].filter(({ bytes }) => bytes > 0);
  return {
    dramBudget,
    context,
    chunk,
    logitPositions: fixed.logitPositions,
    threads,
    memoryBytes: placed.memoryBytes,
    arenas,
    items: [
      ...processItems(request, fixed),
      { name: 'norms and biases', bytes: fixed.vectorBytes },
      {
        name: `KV cache (${positionsOf(request)}, ${request.kvDtype})`,
        bytes: fixed.kv.cacheBytes,
      },
      { name: `activations (${chunk} positions at once)`, bytes: fixed.activationBytes },
      { name: 'row staging', bytes: fixed.rowStaging.slotBytes * fixed.rowStaging.slots },
      { name: 'resident weights', bytes: placed.residentBytes - (headProposal?.bytes ?? 0) },
      { name: 'stream ring', bytes: ring === null ? 0 : ring.slotBytes * ring.slots },
      ...optional,
    ],
    vectors: { tensors: fixed.vectors, address: fixed.vectorAddress },
    kvCache: fixed.kv,
    activations: fixed.activations,
    threadScratch: fixed.threadScratch,
    rowStaging: fixed.rowStaging,
    residences,
    headProposal,
    predictors: predictors && { ...predictors, address: fixed.predictorAddress },
    sparse: stores && { stores, staging },
    ring,
    body: streamedBody,
    head: streamedHead,
    streamedBytes:
      sum([...streamedBody, ...streamedHead].map(bytesOf)) + (demand?.missingBytes ?? 0),
    usedBytes:
      sum(usedMatrices(matrices, headProposal).map(({ bytes }) => bytes)) +
      (demand?.bytes ?? sum(bundles.map(({ bytes }) => bytes))),
    fitsWhole:
      (stores?.every(({ slots }, i) => slots === manifest.layers[i]?.neurons) ?? true) &&
      [...matrices, ...(stores === null ? bundles : []), ...rowTables(manifest)].every(
        (tensor) => residences.get(tensor)?.rows === rowsOf(tensor).rows,
      ),
    choice: null,
  };
}

/** Bytes of neurons that a token wants on average, and of those how many are not in their store. */
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

/** The least room in which weights pass through: streamed rows, and neurons. */
function smallestPassage(request: PlanRequestBase): number {
  const ring = smallestRing(request.manifest);
  if (!request.sparse) return ring;
  const { bundleBytes, allBytes } = bundleSizes(request);
  return ring + slotsBytes(1, smallestStaging(bundleBytes, allBytes));
}

/**
 * The least positions at once: with one, a prompt would read the whole model for each token; with fewer
 * than sequences, so would some of these.
 */
function smallestChunk({ chunk, sequences }: PlanRequestBase): number {
  const enough = chunkSizes.filter((size) => size >= sequences);
  return Math.min(chunk, ...(enough.length === 0 ? chunkSizes.slice(0, 1) : enough));
}

/** Positions of the cache, in words. */
function positionsOf({ sequences, positions }: PlanRequestBase): string {
  return sequences === 1
    ? `${positions} positions`
    : `${positions} positions of ${sequences} sequences`;
}

/** What is there without any weight: the process, and its compute threads. */
function processItems({ processBytes, threads }: PlanRequestBase, fixed: Fixed): PlanItem[] {
  const process = { name: 'process', bytes: processBytes };
  if (threads === 1) return [process];
  const bytes = threadResidentBytes(threads) + fixed.threadBytes;
  return [process, { name: `compute threads (${threads})`, bytes }];
}

/** The smallest budget that a request can be planned for, and what it consists of. */
export function planFloor(request: PlanRequestBase): {
  readonly bytes: number;
  readonly items: readonly PlanItem[];
} {
  const { kvDtype } = request;
  const fixed = layoutFixed(request, smallestChunk(request));
  const items: PlanItem[] = [
    ...processItems(request, fixed),
    { name: 'norms and biases', bytes: fixed.vectorBytes },
    { name: `KV cache for ${positionsOf(request)} in ${kvDtype}`, bytes: fixed.kv.cacheBytes },
    { name: 'activations', bytes: fixed.activationBytes },
    { name: 'row staging', bytes: fixed.rowStaging.slotBytes * fixed.rowStaging.slots },
    { name: 'stream ring', bytes: smallestPassage(request) },
    ...[
      { name: 'predictors', bytes: fixed.predictorBytes },
      { name: 'neuron book-keeping', bytes: fixed.bookkeepingBytes },
      { name: `logits of ${request.sequences} sequences`, bytes: fixed.sequenceBytes },
    ].filter(({ bytes }) => bytes > 0),
  ];
  const alignmentBytes = sectorBytes * (items.length + 1);
  return { bytes: sum(items.map(({ bytes }) => bytes)) + alignmentBytes, items };
}

function belowFloor(request: PlanRequest): BudgetError {
  const { manifest, processBytes, dramBudget, kvDtype, threads } = request;
  const memoryLimit = memoryLimitOf(request);
  const floor = planFloor(request);
  const listed = floor.items.map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(', ');
  const inFirstMemory = floor.bytes - processBytes - threadResidentBytes(threads);
  if (inFirstMemory > memoryLimit) {
    return new BudgetError(
      `what must lie in one memory of ${formatBytes(memoryLimit)} takes ${formatBytes(inFirstMemory)}: ${listed}`,
      {},
      'Ask for a shorter context (--context, --max-tokens)',
    );
  }
  return new BudgetError(
    `--dram-budget ${formatBytes(dramBudget)} is below the floor of ${formatBytes(floor.bytes)}: ${listed}`,
    {},
    `Give at least ${Math.ceil(floor.bytes / MIB)}MiB, or ask for a shorter context (--max-tokens, --context): the KV cache takes ` +
      `${formatBytes(manifest.spec.layers * kvRowBytes(manifest.spec, kvDtype))} per position` +
      (kvDtype === 'f32' ? ', half of that with --kv-dtype f16' : '') +
      (threads > 1 ? '; or for fewer threads' : ''),
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
