/**
 * A WebAssembly memory has at most 4 GiB, so weights beyond that lie in further memories (arenas). A
 * kernel sees one memory only: its input is copied to the transfer buffers of the arena that
 * holds the weights, and the result is copied back. These are a few KiB for each position.
 */

import { type ThreadScratch, threadScratchBytes } from '../kernels/threads/pool.ts';
import { scratchBytes } from '../kernels/weight-kernels.ts';
import type { ModelSpec } from '../models/spec.ts';
import { alignUp } from '../units.ts';
import {
  activationValues,
  type BlockRoom,
  gateValues,
  neuronBlock,
  type PredictorSizes,
  type QuantisedRoom,
  sumRows,
  widestRow,
} from './activations.ts';
import { type ListTables, layoutListTables, type Staging, slotsBytes } from './list-layout.ts';

/** Outputs of a matrix that are computed at once; this limits the size of the buffers. */
export const transferRows = 1024;

export interface TransferBuffers extends BlockRoom {
  /** (chunk, widest row): the input. */
  readonly input: number;
  /** (chunk, transferRows) or (chunk, hidden): the output. */
  readonly output: number;
  /** (transferRows) or (neuronBlock): the biases of the rows in progress. */
  readonly bias: number;
  /** (neuronBlock): those of gates. */
  readonly gateBias: number;
  /** (chunk, neuronBlock) */
  readonly neurons: number;
  /** The same, where FFNs are gated. */
  readonly gates: number;
  /** (sumRows, hidden) */
  readonly sums: number;
  readonly scratch: number;
  /** Buffer for the quantised input; null where no format needs one. */
  readonly quantised: QuantisedRoom | null;
  readonly threadScratch: ThreadScratch;
  /** With predictors only. */
  readonly lists: ListTables | null;
  /** With predictors only, and where not all neurons fit. */
  readonly staging: Staging | null;
  /** (neurons, bytes of a column): copies of down columns until all activations are known; or 0. */
  readonly downs: number;
  /** Where the weights begin. */
  readonly end: number;
}

export interface TransferSizes {
  readonly address: number;
  readonly chunk: number;
  readonly context: number;
  readonly threads: number;
  /** Neurons of the largest unit that is computed as a whole. */
  readonly widestUnit: number;
  readonly predictors: PredictorSizes | null;
  /** Bytes of a layer's down columns that are copied, with predictors; 0 where none are. */
  readonly downBytes: number;
  /** Staging slots for neurons, and the bytes of one. */
  readonly staging: { readonly slots: number; readonly bundleBytes: number } | null;
  /** Bytes of the quantised input of products; 0 where it is not quantised. */
  readonly quantisedBytes: number;
}

const alignment = 4096; // of the weights after it

export function layoutTransferBuffers(spec: ModelSpec, sizes: TransferSizes): TransferBuffers {
  const { address, chunk, context, threads, widestUnit, predictors, staging, downBytes } = sizes;
  const { quantisedBytes } = sizes;
  let end = address;
  const take = (bytes: number) => {
    const start = end;
    end = alignUp(end + bytes, alignment);
    return start;
  };
  const cols = Math.max(widestRow(spec), widestUnit);
  const values = activationValues(chunk, widestUnit);
  const bytesPerThread = threadScratchBytes({ cols, context });
  return {
    input: take(chunk * cols * 4),
    output: take(chunk * Math.max(transferRows, spec.hiddenSize) * 4),
    bias: take(Math.max(transferRows, neuronBlock, widestUnit) * 4),
    gateBias: take(gateValues(spec, Math.max(neuronBlock, widestUnit)) * 4),
    neurons: take(values * 4),
    gates: take(gateValues(spec, values) * 4),
    chunk,
    bundles: take(neuronBlock * 4),
    // As many units as have room for their biases.
    entries: neuronBlock,
    sums: take(sumRows(chunk) * spec.hiddenSize * 4),
    scratch: take(scratchBytes(cols)),
    quantised:
      quantisedBytes === 0 ? null : { address: take(quantisedBytes), bytes: quantisedBytes },
    threadScratch: { address: take((threads - 1) * bytesPerThread), bytesPerThread },
    lists: predictors && layoutListTables(take, { chunk, neurons: predictors.neurons }),
    staging: staging && {
      address: take(slotsBytes(staging.slots, staging.bundleBytes)),
      slots: staging.slots,
    },
    downs: downBytes === 0 ? 0 : take(downBytes),
    end,
  };
}
