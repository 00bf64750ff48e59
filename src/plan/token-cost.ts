/**
 * The expected cost of a token under a plan, from sizes, frequencies and the device's profile alone:
 * computing, streamed weights and missed neurons. The costs add up: streams are read ahead, but reads take
 * processors and memory bandwidth from the kernels that compute meanwhile, so that measurements lie near the
 * sum (docs/BENCH.md). Absolute figures are only as good as the profile; they serve to compare plans on one
 * machine.
 */

import { defaultProfile } from '../flash/device-profile.ts';
import { rowsOf } from '../flash/manifest.ts';
import { activations, tensorNames } from '../models/spec.ts';
import type { PredictorDemand } from './fixed-layout.ts';
import type { MemoryPlan } from './memory-plan.ts';
import { missCost } from './miss-cost.ts';
import type { PlanRequest } from './request.ts';
import { wantedOf } from './share-slots.ts';
import { matricesInOrder, usedMatrices } from './weight-order.ts';

/** Bytes per millisecond that the kernels of one thread process (docs/LEARNED.md, "Kernels"). */
export const kernelBytesPerMs = 6e6;
/**
 * The misses of stores, relative to those of keeping the most wanted neurons all the time: consecutive tokens
 * often want the same neurons. 0.6 to 0.7 on a real model with 27% to 73% of its neurons in DRAM.
 */
const repeats = 0.67;
/** Size of a stream's reads. */
const streamPiece = 1024 * 1024;

/** One layer's FFN, in milliseconds per token. */
export interface LayerCost {
  /** Computing its predictor and its neurons. */
  readonly computeMs: number;
  /** Reading the neurons that it misses; 0 where every neuron is computed. */
  readonly missMs: number;
  /** Reading its streamed rows. */
  readonly streamMs: number;
  /** Bytes read from flash. */
  readonly readBytes: number;
  readonly absentBytes: number;
}

export interface TokenCost {
  readonly layers: readonly LayerCost[];
  readonly totalMs: number;
}

/** @param plan a plan made for this request */
export function tokenCost(plan: MemoryPlan, request: PlanRequest): TokenCost {
  const costs = request.readCosts ?? defaultProfile;
  const bytesPerMs = kernelBytesPerMs * plan.threads;
  const streamed = streamedBytes(plan);
  const streamMs = (bytes: number) => (1000 * bytes) / costs.bandwidth;
  const layers = request.manifest.layers.map((layer, index): LayerCost => {
    const { neurons, bundleBytes } = layer;
    const stream = streamed.get(tensorNames.bundles(index)) ?? 0;
    if (plan.sparse === null || plan.predictors === null) {
      return {
        computeMs: (neurons * bundleBytes * exactShare(request, index)) / bytesPerMs,
        missMs: 0,
        streamMs: streamMs(stream),
        readBytes: stream,
        absentBytes: stream,
      };
    }
    const slots = plan.sparse.stores[index]?.slots ?? 0;
    const { named, missed } = wantedOf(plan.predictors.layers[index]?.frequency, slots);
    // A store holds at most as many wanted neurons as it has slots.
    const reads = missCost(Math.max(named - slots, repeats * missed), layer, costs);
    const bytes = predictorBytes(plan.predictors, index) + named * bundleBytes;
    return {
      computeMs: bytes / bytesPerMs,
      missMs: reads.ms,
      streamMs: 0,
      readBytes: reads.bytes,
      absentBytes: (neurons - slots) * bundleBytes,
    };
  });
  const sum = (key: 'computeMs' | 'missMs') => layers.reduce((all, one) => all + one[key], 0);
  const allStreamed = [...streamed.values()].reduce((all, bytes) => all + bytes, 0);
  const { matrices } = matricesInOrder(request.manifest);
  const matrixBytes = usedMatrices(matrices, plan.headProposal).reduce(
    (all, m) => all + m.bytes,
    0,
  );
  const computing =
    sum('computeMs') + matrixBytes / bytesPerMs + (allStreamed / streamPiece) * costs.processorMs;
  return { layers, totalMs: computing + streamMs(allStreamed) + sum('missMs') };
}

/** Bytes that a token streams, by tensor. */
function streamedBytes({ body, head }: MemoryPlan): ReadonlyMap<string, number> {
  const bytes = new Map<string, number>();
  for (const { tensor, count } of [...body, ...head]) {
    const added = count * rowsOf(tensor).rowBytes;
    bytes.set(tensor.name, (bytes.get(tensor.name) ?? 0) + added);
  }
  return bytes;
}

/**
 * The share of an FFN that is computed without predictors: where the first product's activation is 0, the
 * other parts of the neuron are skipped.
 */
function exactShare({ manifest, predictors }: PlanRequest, layer: number): number {
  const { activation, gate } = manifest.spec.ffn;
  const demand = predictors?.layers[layer];
  if (!activations[activation].zeros || demand === undefined) return 1;
  const first = gate === 'none' ? 1 / 2 : 1 / 3;
  const fired = wantedOf(demand.frequency, 0).named / Math.max(1, demand.neurons);
  return first + (1 - first) * fired;
}

function predictorBytes({ set }: PredictorDemand, layer: number): number {
  const predictor = set.layers[layer];
  if (predictor === undefined || predictor === null) return 0;
  const { a, b, bias } = predictor;
  return (a?.bytes ?? 0) + b.bytes + bias.bytes;
}
