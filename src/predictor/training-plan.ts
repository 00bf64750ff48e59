/** Memory for training: one layer at a time, a region for the arithmetic, and as many samples as fit. */

import { BudgetError } from '../errors.ts';
import type { Manifest, StoredTensor } from '../flash/manifest.ts';
import { threadResidentBytes } from '../kernels/threads/pool.ts';
import { tensorNames } from '../models/spec.ts';
import { attentionMatrices } from '../models/spec-tensors.ts';
import { maxMemoryBytes } from '../pages.ts';
import { listItems, type PlanItem, type PlanItemId, planItem } from '../plan/items.ts';
import { layoutLayers } from '../plan/layer-plan.ts';
import type { MemoryPlan } from '../plan/memory-plan.ts';
import { formatBytes, MIB } from '../units.ts';
import { gatherBytes } from './collect.ts';
import { Samples } from './samples.ts';

export interface TrainingPlan {
  readonly plan: MemoryPlan;
  /** Bytes for the arithmetic of training. */
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
  /** Bytes that the arithmetic needs. */
  readonly regionBytes: number;
}

const chunkSizes = [64, 32, 16, 8];
/** The memory of the process may differ by this much from one run to the next. */
const floorMarginBytes = 8 * MIB;

/** Matrices of a layer, in the order of their addresses. */
export function layerTensors({ tensors, spec }: Manifest, layer: number): StoredTensor[] {
  const names = [
    ...attentionMatrices(spec, layer, tensors),
    `${tensorNames.attentionOut(layer)}.weight`,
    tensorNames.bundles(layer),
  ];
  if (layer === 0 && spec.embeddingSize !== spec.hiddenSize) names.push(tensorNames.projectIn);
  return names.flatMap((name) => tensors.get(name) ?? []);
}

/** @throws BudgetError when the budget is too small; it lists the items */
export function planTraining(request: TrainingPlanRequest): TrainingPlan {
  const { manifest, dramBudget, processBytes, threads, context, tokens, regionBytes } = request;
  const { hiddenSize, layers } = manifest.spec;
  const neurons = Math.max(...manifest.layers.map((layer) => layer.neurons));
  const perLayer = Array.from({ length: layers }, (_, layer) => layerTensors(manifest, layer));
  let floor: readonly PlanItem[] = [];
  for (const chunk of chunkSizes.map((size) => Math.min(size, context))) {
    const laid = layoutLayers({ manifest, threads, context, chunk, layers: perLayer, regionBytes });
    const facts = { threads, positions: context, sequences: 1, kvDtype: 'f32', chunk, tokens };
    const item = (id: PlanItemId, bytes: number) => planItem(id, bytes, facts);
    const items = [
      item('process', processBytes + threadResidentBytes(threads)),
      item('kvCache', laid.kvBytes),
      item('activations', laid.otherBytes),
      item('weights', laid.layerBytes),
      item('training', regionBytes),
      item(
        'samples',
        gatherBytes(chunk, hiddenSize, neurons) +
          Samples.fixedBytes({ tokens, heldOut: 0, hidden: hiddenSize, neurons }) +
          4 * tokens,
      ),
    ];
    floor = items;
    const sampleRoom = dramBudget - items.reduce((sum, { bytes }) => sum + bytes, 0);
    if (sampleRoom < 0 || laid.memoryBytes > maxMemoryBytes) continue;
    const region = { address: laid.region, bytes: regionBytes };
    return { plan: laid.plan(dramBudget, items), region, sampleRoom, items };
  }
  const listed = listItems(floor);
  const needed = floor.reduce((sum, { bytes }) => sum + bytes, 0);
  throw new BudgetError(
    `--dram-budget ${formatBytes(dramBudget)} is below the ${formatBytes(needed)} that training takes: ${listed}`,
    {},
    `Give at least ${Math.ceil((needed + floorMarginBytes) / MIB)}MiB`,
  );
}
