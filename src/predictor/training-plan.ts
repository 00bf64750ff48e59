/**
 * Memory for training: one layer's weights at a time, keys and values of one window and one layer, a
 * region for the arithmetic, and samples, as many as there is room for.
 *
 *   vectors | KV cache | activations | thread scratch | row staging | one layer's weights | region
 */

import { BudgetError } from '../errors.ts';
import { sectorBytes } from '../flash/layout.ts';
import { type Manifest, rowsOf, type StoredTensor } from '../flash/manifest.ts';
import { threadResidentBytes } from '../kernels/threads/pool.ts';
import { role } from '../models/spec.ts';
import { maxMemoryBytes } from '../pages.ts';
import { firstAddress, layoutFixed } from '../plan/fixed-layout.ts';
import type { MemoryPlan, PlanItem } from '../plan/memory-plan.ts';
import type { Residence } from '../plan/places.ts';
import { wholeBytes } from '../plan/weight-order.ts';
import { alignUp, formatBytes, MIB } from '../units.ts';
import { gatherBytes } from './collect.ts';
import { Samples } from './samples.ts';

export interface TrainingPlan {
  readonly plan: MemoryPlan;
  /** For the arithmetic of training. */
  readonly region: { readonly address: number; readonly bytes: number };
  /** Bytes of samples that stay in memory. */
  readonly sampleRoom: number;
  readonly items: readonly PlanItem[];
}

export interface TrainingPlanRequest {
  readonly manifest: Manifest;
  readonly dramBudget: number;
  readonly processBytes: number;
  readonly threads: number;
  /** Positions of the longest window. */
  readonly context: number;
  readonly tokens: number;
  /** What the arithmetic needs. */
  readonly regionBytes: number;
}

const chunkSizes = [64, 32, 16, 8];
/** By this much what the process takes may differ from one run to the next. */
const floorMarginBytes = 8 * MIB;

/** Matrices of a layer, in the order in which they are laid. */
export function layerTensors({ tensors, spec }: Manifest, layer: number): StoredTensor[] {
  const names = [
    `${role.qkv(layer)}.weight`,
    `${role.attentionOut(layer)}.weight`,
    role.bundles(layer),
  ];
  if (layer === 0 && spec.embeddingSize !== spec.hiddenSize) names.push(role.projectIn);
  return names.flatMap((name) => tensors.get(name) ?? []);
}

/** @throws BudgetError below what is needed, item by item */
export function planTraining(request: TrainingPlanRequest): TrainingPlan {
  const { manifest, dramBudget, processBytes, threads, context, tokens, regionBytes } = request;
  const { hiddenSize, layers } = manifest.spec;
  const neurons = Math.max(...manifest.layers.map((layer) => layer.neurons));
  const perLayer = manifest.layers.map((_, layer) => layerTensors(manifest, layer));
  const layerBytes = Math.max(
    ...perLayer.map((tensors) => tensors.reduce((sum, tensor) => sum + wholeBytes(tensor), 0)),
  );
  let floor: readonly PlanItem[] = [];
  for (const chunk of chunkSizes.map((size) => Math.min(size, context))) {
    const fixed = layoutFixed(
      {
        ...{ manifest, context, sequences: 1, positions: context, kvDtype: 'f32', threads },
        ...{ logits: 'last', predictors: null, kvLayers: 1 },
      },
      chunk,
    );
    const slot = alignUp(firstAddress + fixed.bytes, sectorBytes);
    const region = alignUp(slot + layerBytes, sectorBytes);
    const memoryBytes = region + regionBytes;
    const items = [
      { name: 'process', bytes: processBytes + threadResidentBytes(threads) },
      { name: `KV cache of a layer (${context} positions)`, bytes: fixed.kv.cacheBytes },
      { name: 'activations and the like', bytes: slot - fixed.kv.cacheBytes },
      { name: "one layer's weights", bytes: region - slot },
      { name: 'training', bytes: regionBytes },
      {
        name: `samples of ${tokens} tokens`,
        bytes:
          gatherBytes(chunk, hiddenSize, neurons) +
          Samples.fixedBytes({ tokens, heldOut: 0, hidden: hiddenSize, neurons }) +
          4 * tokens,
      },
    ];
    floor = items;
    const sampleRoom = dramBudget - items.reduce((sum, { bytes }) => sum + bytes, 0);
    if (sampleRoom < 0 || memoryBytes > maxMemoryBytes) continue;

    const residences = new Map<StoredTensor, Residence>();
    for (const tensors of perLayer) {
      let address = slot;
      for (const tensor of tensors) {
        residences.set(tensor, { arena: 0, address, rows: rowsOf(tensor).rows });
        address += wholeBytes(tensor);
      }
    }
    const plan: MemoryPlan = {
      dramBudget,
      context,
      chunk,
      logitPositions: fixed.logitPositions,
      threads,
      memoryBytes,
      arenas: [],
      items,
      vectors: { tensors: fixed.vectors, address: fixed.vectorAddress },
      kvCache: fixed.kv,
      activations: fixed.activations,
      threadScratch: fixed.threadScratch,
      rowStaging: fixed.rowStaging,
      residences,
      headProposal: null,
      predictors: null,
      sparse: null,
      ring: null,
      body: [],
      head: [],
      streamedBytes: 0,
      usedBytes: layers * layerBytes,
      fitsWhole: false,
      choice: null,
    };
    return { plan, region: { address: region, bytes: regionBytes }, sampleRoom, items };
  }
  const listed = floor.map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(', ');
  const needed = floor.reduce((sum, { bytes }) => sum + bytes, 0);
  throw new BudgetError(
    `--dram-budget ${formatBytes(dramBudget)} is below the ${formatBytes(needed)} that training takes: ${listed}`,
    {},
    `Give at least ${Math.ceil((needed + floorMarginBytes) / MIB)}MiB`,
  );
}
