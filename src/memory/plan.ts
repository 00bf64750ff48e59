/**
 * The plan: what stays in DRAM, what is streamed, and at which address everything lies. It is made
 * from sizes alone, before any weight is read, and never changes afterwards.
 *
 * The first WebAssembly memory holds, from low to high addresses:
 *
 *   vectors | KV cache | activations | thread scratch | row staging | stream ring | resident weights
 *
 * Weights beyond its end lie in further memories, behind a desk each (desk.ts).
 *
 * What is used whole for every token (attention, FFN, head) is worth the same per byte, so it is
 * taken in the order attention and head, then the same share of every layer's FFN, so that reads
 * spread evenly over a token. Tables that are read by row come last: a row costs one read of
 * 32 KiB per token whatever the table's size.
 */

import { BudgetError } from '../errors.ts';
import { sectorBytes } from '../flash/layout.ts';
import { rowsOf, type StoredTensor } from '../flash/manifest.ts';
import { cutRows, type RowRange, spanOf } from '../flash/row-range.ts';
import { maxMemoryBytes } from '../kernels/module.ts';
import { type ThreadScratch, threadResidentBytes } from '../kernels/threads/pool.ts';
import { formatBytes, MIB } from '../units.ts';
import type { Activations } from './activations.ts';
import { ArenaSpace, type Place } from './arena-space.ts';
import { type Desk, layoutDesk } from './desk.ts';
import {
  type Fixed,
  type FixedSizes,
  firstAddress,
  kvCacheBytes,
  layoutFixed,
} from './fixed-layout.ts';
import { planRing, type StreamRing, smallestRing } from './ring.ts';
import { matricesInOrder, rowsThatFit, rowTables, wholeBytes } from './weight-order.ts';

export interface PlanRequest extends FixedSizes {
  /** Bytes that the whole process may take. */
  readonly dramBudget: number;
  /** What the process takes without weights: code, heap, its margin for growth. */
  readonly processBytes: number;
  /** Positions processed at once, at most. */
  readonly chunk: number;
  /** Bytes one memory may have; smaller in tests. */
  readonly memoryLimit?: number;
}

/** A request before anyone says how much it may take. */
export type PlanRequestBase = Omit<PlanRequest, 'dramBudget'>;

/** Bytes one memory may have. */
function memoryLimitOf({ memoryLimit = maxMemoryBytes }: PlanRequestBase): number {
  return memoryLimit;
}

/** A tensor of which the first `rows` rows lie in DRAM, from `address` on in memory `arena`. */
export interface Residence extends Place {
  readonly rows: number;
}

export interface PlanItem {
  readonly name: string;
  readonly bytes: number;
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
  readonly kvCache: { readonly address: number; readonly bytes: number };
  readonly activations: Activations;
  /** What each thread but the first keeps for itself. */
  readonly threadScratch: ThreadScratch;
  /** Slots for rows of tables that are not resident. */
  readonly rowStaging: StreamRing;
  readonly residences: ReadonlyMap<StoredTensor, Residence>;
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
  const chunks = chunkSizes.filter((size) => size < request.chunk);
  const smallest = chunks.at(-1) ?? request.chunk;
  for (const chunk of [request.chunk, ...chunks]) {
    const fixed = layoutFixed(request, chunk);
    const free = dramBudget - processBytes - threadResidentBytes(request.threads);
    const room = free - fixed.bytes;
    // The ring must lie in the first memory, with everything that is fixed.
    if (firstAddress + fixed.bytes + smallestRing(request.manifest) > memoryLimit) continue;
    // A large chunk is worth some memory, not most of it.
    const generous = fixed.activationBytes <= Math.max(0, free) / 4;
    const last = chunk === smallest;
    if (room >= smallestRing(request.manifest) && (generous || last)) {
      return placeWeights(request, chunk, fixed, room);
    }
  }
  throw belowFloor(request);
}

function placeWeights(request: PlanRequest, chunk: number, fixed: Fixed, room: number): MemoryPlan {
  const { manifest, dramBudget, context, threads } = request;
  const { matrices, bundles, body, head } = matricesInOrder(manifest);
  const used = [...matrices, ...bundles];
  const whole = (placed: Placed) =>
    used.every((tensor) => placed.residences.get(tensor)?.rows === rowsOf(tensor).rows);
  let placed = placeResidents(request, chunk, fixed, room, null);
  if (!whole(placed)) {
    const largest = memoryLimitOf(request) - firstAddress - fixed.bytes;
    placed = placeResidents(request, chunk, fixed, room, planRing(manifest, room, largest));
  }
  const { residences, ring, arenas, memoryBytes } = placed;

  const slotBytes = (ring?.slotBytes ?? sectorBytes) - sectorBytes;
  const stream = (tensors: readonly StoredTensor[]) =>
    tensors.flatMap((tensor) => cutRows(tensor, slotBytes, residences.get(tensor)?.rows ?? 0));
  const streamedBody = stream(body);
  const streamedHead = stream(head);
  const bytesOf = ({ tensor, count }: RowRange) => count * rowsOf(tensor).rowBytes;
  const deskItem = { name: 'arena desks', bytes: sum(arenas.map(({ desk }) => desk.end)) };
  return {
    dramBudget,
    context,
    chunk,
    logitPositions: fixed.logitPositions,
    threads,
    memoryBytes,
    arenas,
    items: [
      ...processItems(request, fixed),
      { name: 'norms and biases', bytes: fixed.vectorBytes },
      { name: `KV cache (${context} positions)`, bytes: fixed.kvBytes },
      { name: `activations (${chunk} positions at once)`, bytes: fixed.activationBytes },
      { name: 'row staging', bytes: fixed.rowStaging.slotBytes * fixed.rowStaging.slots },
      { name: 'resident weights', bytes: placed.residentBytes },
      { name: 'stream ring', bytes: ring === null ? 0 : ring.slotBytes * ring.slots },
      ...(arenas.length > 0 ? [deskItem] : []),
    ],
    vectors: { tensors: fixed.vectors, address: fixed.vectorAddress },
    kvCache: { address: fixed.kvAddress, bytes: fixed.kvBytes },
    activations: fixed.activations,
    threadScratch: fixed.threadScratch,
    rowStaging: fixed.rowStaging,
    residences,
    ring,
    body: streamedBody,
    head: streamedHead,
    streamedBytes: sum([...streamedBody, ...streamedHead].map(bytesOf)),
    usedBytes: sum(used.map(({ bytes }) => bytes)),
    fitsWhole: [...used, ...rowTables(manifest)].every(
      (tensor) => residences.get(tensor)?.rows === rowsOf(tensor).rows,
    ),
  };
}

/** Weights with their places, and what that takes. */
interface Placed extends Pick<MemoryPlan, 'residences' | 'ring' | 'arenas' | 'memoryBytes'> {
  readonly residentBytes: number;
}

/** Gives places to as many weights as fit, beside a ring where one is needed. */
function placeResidents(
  request: PlanRequest,
  chunk: number,
  fixed: Fixed,
  room: number,
  ring: StreamRing | null,
): Placed {
  const { manifest, context, threads } = request;
  const { matrices, bundles } = matricesInOrder(manifest);
  const ringAddress = firstAddress + fixed.bytes;
  const ringBytes = ring === null ? 0 : ring.slots * ring.slotBytes;
  const desk = layoutDesk(manifest.spec, { address: firstAddress, chunk, context, threads });
  const space = new ArenaSpace(memoryLimitOf(request), ringAddress + ringBytes, desk.end);
  const residences = new Map<StoredTensor, Residence>();
  let free = room - ringBytes;
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
  for (const tensor of matrices) reside(tensor, Math.min(wholeBytes(tensor), free));
  // The same share of each layer's FFN: a share of what is still free, which shrinks as it goes.
  bundles.forEach((tensor, index) => {
    reside(tensor, Math.min(wholeBytes(tensor), Math.floor(free / (bundles.length - index))));
  });
  for (const table of rowTables(manifest)) {
    const bytes = wholeBytes(table);
    if (space.cost(bytes) <= free && bytes <= space.largest) reside(table, bytes);
  }
  const [memoryBytes = 0, ...ends] = space.ends;
  return {
    residences,
    ring: ring === null ? null : { ...ring, address: ringAddress },
    memoryBytes,
    arenas: ends.map((end) => ({ desk, memoryBytes: end })),
    residentBytes,
  };
}

/** The least positions at once: with one, a prompt would read the whole model for each token. */
function smallestChunk({ chunk }: PlanRequestBase): number {
  return Math.min(chunk, Math.min(...chunkSizes));
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
  const { manifest, context } = request;
  const fixed = layoutFixed(request, smallestChunk(request));
  const items: PlanItem[] = [
    ...processItems(request, fixed),
    { name: 'norms and biases', bytes: fixed.vectorBytes },
    { name: `KV cache for ${context} positions`, bytes: fixed.kvBytes },
    { name: 'activations', bytes: fixed.activationBytes },
    { name: 'row staging', bytes: fixed.rowStaging.slotBytes * fixed.rowStaging.slots },
    { name: 'stream ring', bytes: smallestRing(manifest) },
  ];
  const alignmentBytes = sectorBytes * (items.length + 1);
  return { bytes: sum(items.map(({ bytes }) => bytes)) + alignmentBytes, items };
}

function belowFloor(request: PlanRequest): BudgetError {
  const { manifest, processBytes, dramBudget, threads } = request;
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
      `${formatBytes(kvCacheBytes(manifest.spec, 1))} per position` +
      (threads > 1 ? '; or for fewer threads' : ''),
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
