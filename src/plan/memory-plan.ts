/**
 * The plan: which weights are resident, which are streamed, and the address of every buffer. It is made from
 * sizes alone, before any weight is read, and never changes afterwards.
 *
 * The first WebAssembly memory holds, from low to high addresses:
 *
 *   vectors | KV cache | predictors | activations | thread scratch | row staging | stream ring |
 *   neuron or expert staging | resident weights, stores of neurons or experts
 *
 * Weights beyond its end lie in further memories, behind transfer buffers (transfer-buffers.ts). placement.ts
 * decides which weights get a place; extend-plan.ts makes another plan where a draft leaves its memory.
 */

import type { StoredTensor } from '../flash/manifest.ts';
import type { RowRange } from '../flash/row-range.ts';
import type { ThreadScratch } from '../kernels/threads/pool.ts';
import type { Activations } from './activations.ts';
import type { ExpertPlan } from './expert-slots.ts';
import type { FfnChoice } from './ffn-way.ts';
import type { PredictorDemand } from './fixed-layout.ts';
import type { PlanItem } from './items.ts';
import type { KvLayout } from './kv-layout.ts';
import type { Staging } from './list-layout.ts';
import type { Extension, Residence, StorePlace } from './places.ts';
import type { StreamRing } from './ring.ts';
import type { TransferBuffers } from './transfer-buffers.ts';

/** Predictors in memory. */
export interface PredictorPlan extends PredictorDemand {
  /** Address of their weights in the first memory. */
  readonly address: number;
}

/** FFNs over the neurons that predictors choose. */
export interface SparsePlan {
  /** Per layer. */
  readonly stores: readonly StorePlace[];
  /** In the first memory; null where all neurons fit. */
  readonly staging: Staging | null;
}

declare const sealed: unique symbol;

export interface MemoryPlan {
  /** Only {@link sealPlan} creates one. */
  readonly [sealed]: true;
  readonly dramBudget: number;
  readonly context: number;
  readonly chunk: number;
  /** The most positions whose logits fit at once. */
  readonly logitPositions: number;
  readonly threads: number;
  /** Bytes of the first memory, which holds everything except further arenas' weights. */
  readonly memoryBytes: number;
  /** Further memories, for weights that do not fit the first one; arena 1 is the first of these. */
  readonly arenas: readonly { readonly transfer: TransferBuffers; readonly memoryBytes: number }[];
  /** The items that the budget is spent on; their sum is at most the budget. */
  readonly items: readonly PlanItem[];
  readonly vectors: { readonly tensors: readonly StoredTensor[]; readonly address: number };
  readonly kvCache: KvLayout;
  readonly activations: Activations;
  /** Scratch of each thread except the first. */
  readonly threadScratch: ThreadScratch;
  /** Slots for rows of tables that are not resident. */
  readonly rowStaging: StreamRing;
  readonly residences: ReadonlyMap<StoredTensor, Residence>;
  /** Rows in memory that a draft has left (extend-plan.ts); empty in a plan that starts a run. */
  readonly extensions: ReadonlyMap<StoredTensor, Extension>;
  /** The head's copy in few bits, which is one of the residences; null where the head itself is used. */
  readonly headProposal: StoredTensor | null;
  readonly predictors: PredictorPlan | null;
  /** Null: every neuron is computed. */
  readonly sparse: SparsePlan | null;
  /** For mixtures of experts; null for other models. */
  readonly experts: ExpertPlan | null;
  /** Null when nothing is streamed. */
  readonly ring: StreamRing | null;
  /**
   * The ranges that a token streams, in order; the head's part is separate, since only some passes need it.
   */
  readonly body: readonly RowRange[];
  readonly head: readonly RowRange[];
  /** Bytes read from flash for each token, rows of tables not counted. */
  readonly streamedBytes: number;
  /** Bytes of weights that each token uses. */
  readonly usedBytes: number;
  /** Whether all weights are in DRAM. */
  readonly fitsWhole: boolean;
  /** Whether predictors pay at this budget; null where the request does not ask for the choice. */
  readonly choice: FfnChoice | null;
}

/** Makes a plan from its parts; for the planners in this directory only. */
export function sealPlan(parts: Omit<MemoryPlan, typeof sealed>): MemoryPlan {
  return parts as MemoryPlan;
}
