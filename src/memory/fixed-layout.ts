/** What lies in the first memory whatever the budget: everything but weights and their ring. */

import { sectorBytes } from '../flash/layout.ts';
import type { Manifest, StoredTensor } from '../flash/manifest.ts';
import { type Span, spanOf } from '../flash/row-range.ts';
import { type ThreadScratch, threadScratchBytes } from '../kernels/threads/pool.ts';
import { type ModelSpec, role } from '../models/spec.ts';
import { alignUp } from '../units.ts';
import { type Activations, layoutActivations, widestRow } from './activations.ts';
import { type StreamRing, slotBytesFor } from './ring.ts';

const rowStagingSlots = 8;
/** Nothing lies at address 0, so that it can mean none. */
export const firstAddress = 4096;

/** Everything that is there whatever the budget. */
export interface Fixed {
  readonly vectors: readonly StoredTensor[];
  readonly vectorAddress: number;
  readonly vectorBytes: number;
  readonly kvAddress: number;
  readonly kvBytes: number;
  readonly activations: Activations;
  readonly activationBytes: number;
  /** Positions whose logits have room. */
  readonly logitPositions: number;
  readonly threadScratch: ThreadScratch;
  readonly threadBytes: number;
  readonly rowStaging: StreamRing;
  /** Bytes from `firstAddress` to the end of all this. */
  readonly bytes: number;
}

/** What the sizes depend on. */
export interface FixedSizes {
  readonly manifest: Manifest;
  /** Positions that the KV cache holds. */
  readonly context: number;
  /** Positions of a chunk whose logits are kept. */
  readonly logits: 'last' | 'all';
  readonly threads: number;
}

export function layoutFixed(
  { manifest, context, logits, threads }: FixedSizes,
  chunk: number,
): Fixed {
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
  const kvBytes = kvCacheBytes(spec, context);
  const kvAddress = take(kvBytes);
  const logitPositions = logits === 'all' ? chunk : 1;
  const activations = layoutActivations(spec, {
    address: end,
    chunk,
    context,
    logits: logitPositions,
  });
  take(activations.bytes);
  const bytesPerThread = threadScratchBytes({ cols: widestRow(spec), context });
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
    kvAddress,
    kvBytes,
    activations,
    activationBytes: activations.bytes,
    logitPositions,
    threadScratch,
    threadBytes: scratchBytes,
    rowStaging,
    bytes: end - firstAddress,
  };
}

/** Bytes of f32 keys and values of `positions` in all layers. */
export function kvCacheBytes({ layers, attention }: ModelSpec, positions: number): number {
  return layers * positions * 2 * attention.kvHeads * attention.headDim * 4;
}

/** The sectors that hold all vectors, which lie together in their file. */
export function vectorSpan(vectors: readonly StoredTensor[]): Span | null {
  const [first, last] = [vectors[0], vectors.at(-1)];
  if (first === undefined || last === undefined) return null;
  const bytes = last.offset + last.bytes - first.offset;
  return spanOf({ tensor: { ...first, bytes }, first: 0, count: 1 });
}

function rowSlotBytes({ tensors }: Manifest): number {
  const tables = [tensors.get(role.tokens), tensors.get(role.positions)];
  return slotBytesFor(
    tables.filter((table) => table !== undefined),
    0,
  );
}
