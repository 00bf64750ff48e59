/**
 * A plan that runs a model layer by layer over many texts, each weight read once: one layer's weights
 * at a time, keys and values of one window and one layer.
 *
 *   vectors | KV cache | activations | thread scratch | row staging | one layer's weights | region
 */

import { sectorBytes } from '../flash/layout.ts';
import { type Manifest, rowsOf, type StoredTensor } from '../flash/manifest.ts';
import { alignUp } from '../units.ts';
import { firstAddress, layoutFixed } from './fixed-layout.ts';
import type { PlanItem } from './items.ts';
import { type MemoryPlan, sealPlan } from './memory-plan.ts';
import type { Residence } from './places.ts';
import { wholeBytes } from './weight-order.ts';

export interface LayerPlanRequest {
  readonly manifest: Manifest;
  readonly threads: number;
  /** Positions of the longest window, and how many of them are processed at once. */
  readonly context: number;
  readonly chunk: number;
  /** The weights of each layer, in the order of their addresses. */
  readonly layers: readonly (readonly StoredTensor[])[];
  /** Bytes after them that the caller may use freely. */
  readonly regionBytes: number;
}

/** Sizes and places, from which the plan is made once they are known to fit. */
export interface LayerLayout {
  readonly kvBytes: number;
  /** Bytes of activations, vectors and the like. */
  readonly otherBytes: number;
  readonly layerBytes: number;
  readonly memoryBytes: number;
  /** Address of the caller's region. */
  readonly region: number;
  /** @param items the items that the budget is spent on */
  readonly plan: (dramBudget: number, items: readonly PlanItem[]) => MemoryPlan;
}

export function layoutLayers(request: LayerPlanRequest): LayerLayout {
  const { manifest, threads, context, chunk, layers, regionBytes } = request;
  const fixed = layoutFixed(
    {
      ...{ manifest, context, sequences: 1, positions: context, kvDtype: 'f32', threads },
      ...{ logits: 'last', predictors: null, kvLayers: 1 },
    },
    chunk,
  );
  const bytesOf = (tensors: readonly StoredTensor[]) =>
    tensors.reduce((sum, tensor) => sum + wholeBytes(tensor), 0);
  const layerBytes = Math.max(...layers.map(bytesOf));
  const slot = alignUp(firstAddress + fixed.bytes, sectorBytes);
  const region = alignUp(slot + layerBytes, sectorBytes);
  const memoryBytes = region + regionBytes;
  const plan = (dramBudget: number, items: readonly PlanItem[]) => {
    const residences = new Map<StoredTensor, Residence>();
    for (const tensors of layers) {
      let address = slot;
      for (const tensor of tensors) {
        residences.set(tensor, { arena: 0, address, rows: rowsOf(tensor).rows });
        address += wholeBytes(tensor);
      }
    }
    return sealPlan({
      ...{ dramBudget, context, chunk, threads, memoryBytes, items, residences },
      arenas: [],
      extensions: new Map(),
      logitPositions: fixed.logitPositions,
      vectors: { tensors: fixed.vectors, address: fixed.vectorAddress },
      kvCache: fixed.kv,
      activations: fixed.activations,
      threadScratch: fixed.threadScratch,
      rowStaging: fixed.rowStaging,
      headProposal: null,
      predictors: null,
      sparse: null,
      experts: null,
      ring: null,
      choice: null,
      ...{ body: [], head: [], streamedBytes: 0, fitsWhole: false },
      usedBytes: layers.length * layerBytes,
    });
  };
  return {
    kvBytes: fixed.kv.cacheBytes,
    otherBytes: slot - fixed.kv.cacheBytes,
    layerBytes: region - slot,
    memoryBytes,
    region,
    plan,
  };
}
