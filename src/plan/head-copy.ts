/** The head's copy in few bits, which may propose in its place: its size, and whether it pays. */

import { byteLength } from '../dtype.ts';
import type { StoredTensor } from '../flash/manifest.ts';
import type { ModelSpec } from '../models/spec.ts';
import { MIB } from '../units.ts';

/** Format of the copy. */
export const proposalDType = 'q4';
/** For more logits than this, passing over the head itself is cheaper. */
const mostLogits = 128;
const f32Bytes = 4;

/** The copy of a head as a tensor that is not stored in any file. */
export function proposalTensor(head: StoredTensor): StoredTensor {
  const [rows = 0, columns = 0] = head.shape;
  return {
    name: `${head.name}.proposal`,
    file: '',
    dtype: proposalDType,
    shape: [rows, columns],
    offset: 0,
    bytes: rows * byteLength(proposalDType, columns),
    rowsPerBlock: 1,
    checksums: new Uint32Array(),
  };
}

/** Bytes of figures about a copy's rows, outside the memories. */
export function proposalBookkeeping({ vocabSize }: Pick<ModelSpec, 'vocabSize'>): number {
  return 2 * f32Bytes * vocabSize;
}

/** Reading a smaller head as a whole takes less time than reading single rows of it. */
const smallestHead = 2 * MIB;

/**
 * Whether a copy may propose in a head's place when the `k` largest logits are needed: the copy must be much
 * smaller, and reading rows one by one must pay.
 */
export function proposable(head: StoredTensor, k: number): boolean {
  const [, columns = 0] = head.shape;
  if (k > mostLogits) return false;
  if (head.dtype === 'u8' || head.bytes < smallestHead) return false;
  return byteLength(head.dtype, columns) >= 2 * byteLength(proposalDType, columns);
}
