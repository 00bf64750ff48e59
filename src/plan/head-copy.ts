/** The head's copy in few bits, which may stand in for it: its size, and whether it is worth having. */

import { byteLength } from '../dtype.ts';
import type { StoredTensor } from '../flash/manifest.ts';
import type { ModelSpec } from '../models/spec.ts';
import { MIB } from '../units.ts';

/** Of the copy. */
export const proposalDType = 'q4';
/** More logits than these are cheaper to have by passing over the head. */
const mostLogits = 128;
const f32Bytes = 4;

/** The copy of a head as a tensor that no file has. */
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

/** Bytes kept about the rows of a copy, outside of the memories. */
export function proposalBookkeeping({ vocabSize }: Pick<ModelSpec, 'vocabSize'>): number {
  return 2 * f32Bytes * vocabSize;
}

/** A smaller head is read as a whole in less time than its single rows. */
const smallestHead = 2 * MIB;

/**
 * Whether a copy may stand in for a head of which the `k` largest logits are asked for: it is much
 * smaller, and rows are worth reading one by one.
 */
export function proposable(head: StoredTensor, k: number): boolean {
  const [, columns = 0] = head.shape;
  if (k > mostLogits) return false;
  if (head.dtype === 'u8' || head.bytes < smallestHead) return false;
  return byteLength(head.dtype, columns) >= 2 * byteLength(proposalDType, columns);
}
