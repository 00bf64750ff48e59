/**
 * The part of the first memory that does not depend on the budget: everything except weights and their ring.
 */

import type { KvDType } from '../dtype.ts';
import { widestUnit } from '../flash/ffn-units.ts';
import { sectorBytes } from '../flash/layout.ts';
import type { Manifest, StoredTensor } from '../flash/manifest.ts';
import { type PredictorSet, predictorWeights } from '../flash/predictor-file.ts';
import { type Span, spanOf } from '../flash/row-range.ts';
import { type ThreadScratch, threadScratchBytes } from '../kernels/threads/pool.ts';
import { tensorNames } from '../models/spec.ts';
import { alignUp } from '../units.ts';
import {
  type Activations,
  layoutActivations,
  type PredictorSizes,
  widestRow,
} from './activations.ts';
import { allActivationsSizes } from './all-activations.ts';
import { expertUnits } from './expert-slots.ts';
import { type KvLayout, layoutKv } from './kv-layout.ts';
import { selectionLengths } from './list-layout.ts';
import { quantisedRoomBytes } from './quantised-room.ts';
import { type StreamRing, slotBytesFor } from './ring.ts';
import type { LayerDemand } from './share-slots.ts';
import { bookkeepingBytes } from './store-book.ts';

const rowStagingSlots = 8;
/** No data lies at address 0, so that 0 can mean "none". */
export const firstAddress = 4096;

/** Everything that does not depend on the budget. */
export interface Fixed {
  readonly vectors: readonly StoredTensor[];
  readonly vectorAddress: number;
  readonly vectorBytes: number;
  readonly kv: KvLayout;
  readonly activations: Activations;
  readonly activationBytes: number;
  /** Bytes of logits and ids that each of several sequences keeps, outside the memories. */
  readonly sequenceBytes: number;
  /** The most positions whose logits fit. */
  readonly logitPositions: number;
  readonly threadScratch: ThreadScratch;
  readonly threadBytes: number;
  readonly rowStaging: StreamRing;
  /** Place of the predictors; 0 bytes without any. */
  readonly predictorAddress: number;
  readonly predictorBytes: number;
  /** Bytes of book-keeping about neurons or experts, outside the memories. */
  readonly bookkeepingBytes: number;
  /** Bytes from `firstAddress` to the end of the fixed part. */
  readonly bytes: number;
}

/** The inputs that the sizes depend on. */
export interface FixedSizes {
  readonly manifest: Manifest;
  /** Positions of the longest sequence. */
  readonly context: number;
  /** Sequences that may be open at once, and positions of all of them together. */
  readonly sequences: number;
  readonly positions: number;
  readonly kvDtype: KvDType;
  /** The positions of a batch whose logits are kept: the last of each sequence, or all. */
  readonly logits: 'last' | 'all';
  /** Further positions whose logits are kept, for proposed tokens; 0 by default. */
  readonly draftTokens?: number;
  readonly threads: number;
  /** Null: every neuron is computed. */
  readonly predictors: PredictorDemand | null;
  /** Experts that a token takes, if fewer than the model's number. */
  readonly expertsPerToken?: number;
  /** Layers whose keys and values are kept at once: all of them, unless one is run at a time. */
  readonly kvLayers?: number;
}

/** Predictors as a plan sees them. */
export interface PredictorDemand {
  readonly set: PredictorSet;
  /** Per layer of the model: how often each neuron is wanted. */
  readonly layers: readonly LayerDemand[];
}

export function layoutFixed(sizes: FixedSizes, chunk: number): Fixed {
  const { manifest, context, sequences, kvDtype, logits, threads, predictors } = sizes;
  const { spec } = manifest;
  const vectors = [...manifest.tensors.values()]
    .filter(({ shape }) => shape.length === 1)
    .sort((a, b) => a.offset - b.offset);
  let end = firstAddress;
  const take = (bytes: number) => {
    const address = end;
    end = alignUp(end + bytes, sectorBytes);
    return address;
  };
  const vectorBytes = vectorSpan(vectors)?.bytes ?? 0;
  const vectorAddress = take(vectorBytes);
  const layers = sizes.kvLayers ?? spec.layers;
  const { positions } = sizes;
  const kvSizes = { context, sequences, positions, dtype: kvDtype, chunk, layers };
  const kv = layoutKv(spec, kvSizes, end);
  take(kv.bytes);
  const { draftTokens = 0 } = sizes;
  // Each sequence keeps the logits of its last row; with a guide, it also keeps those of verified tokens.
  const keptLogits = sequences + draftTokens;
  const logitPositions = logits === 'all' ? chunk : Math.min(chunk, keptLogits);
  const predictorBytes = predictors === null ? 0 : (predictorSpan(predictors.set)?.bytes ?? 0);
  const predictorAddress = take(predictorBytes);
  const activations = layoutActivations(spec, {
    address: end,
    chunk,
    context,
    logits: logitPositions,
    widestUnit: widestUnit(manifest.ffns),
    predictors: predictors && predictorSizes(predictors),
    all: allActivationsSizes(manifest),
    quantisedBytes: quantisedRoomBytes(manifest, chunk),
  });
  take(activations.bytes);
  const wide = Math.max(widestRow(spec), widestUnit(manifest.ffns));
  const cols = Math.max(wide, predictors === null ? 0 : predictorSizes(predictors).rank);
  const bytesPerThread = threadScratchBytes({ cols, context });
  const scratchBytes = (threads - 1) * bytesPerThread;
  const threadScratch = { address: take(scratchBytes), bytesPerThread };
  const slotBytes = rowSlotBytes(manifest);
  const rowStaging = {
    address: take(slotBytes * rowStagingSlots),
    slots: rowStagingSlots,
    slotBytes,
  };
  return {
    vectors,
    vectorAddress,
    vectorBytes,
    kv,
    activations,
    activationBytes: activations.bytes + kv.bytes - kv.cacheBytes,
    sequenceBytes: sequences === 1 ? 0 : keptLogits * 4 * spec.vocabSize + sequences * 16 * context,
    logitPositions,
    threadScratch,
    threadBytes: scratchBytes,
    rowStaging,
    predictorAddress,
    predictorBytes,
    bookkeepingBytes:
      predictors === null ? booksOfExperts(manifest, chunk) : booksOf(predictors, chunk),
    bytes: end - firstAddress,
  };
}

/** Bytes of the experts' stores, and of a chunk's selection. */
function booksOfExperts(manifest: Manifest, chunk: number): number {
  const counts = expertUnits(manifest).flatMap((units) => units?.count ?? []);
  if (counts.length === 0) return 0;
  return bookkeepingBytes(counts) + 4 * (chunk + 1) * Math.max(...counts);
}

/** Bytes of all stores, and of two selections: a chunk's, and the guess for a token. */
function booksOf(predictors: PredictorDemand, chunk: number): number {
  const { neurons: units } = predictorSizes(predictors);
  const selections = [chunk, 1].map((rows) => selectionLengths({ units, rows }));
  return (
    bookkeepingBytes(predictors.layers.map(({ neurons }) => neurons)) +
    sumOver(selections, ({ ids, bits }) => 4 * (ids + bits))
  );
}

/** The sectors that hold tensors which are adjacent in their file, in this order. */
export function vectorSpan(vectors: readonly StoredTensor[]): Span | null {
  const [first, last] = [vectors[0], vectors.at(-1)];
  if (first === undefined || last === undefined) return null;
  const bytes = last.offset + last.bytes - first.offset;
  return spanOf({ tensor: { ...first, shape: [bytes], bytes }, first: 0, count: 1 });
}

/** The sectors that hold the predictors' weights. */
export function predictorSpan(set: PredictorSet): Span | null {
  return vectorSpan(predictorWeights(set));
}

/** The largest of all layers' sizes. */
export function predictorSizes({ set, layers }: PredictorDemand): PredictorSizes {
  return {
    neurons: Math.max(...layers.map(({ neurons }) => neurons)),
    rank: Math.max(1, ...set.layers.map((layer) => (layer?.a ? layer.rank : 0))),
  };
}

function sumOver<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}

function rowSlotBytes({ tensors }: Manifest): number {
  const tables = [tensors.get(tensorNames.tokens), tensors.get(tensorNames.positions)];
  return slotBytesFor(
    tables.filter((table) => table !== undefined),
    0,
  );
}
