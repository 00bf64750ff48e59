/** A model with only a part of its head's rows: it generates only tokens with the first ids. */

import { headTensor, tensorNames } from '../models/spec.ts';
import { type Manifest, rowsOf } from './manifest.ts';

/**
 * The same model with a head of its first `most` rows, in whole blocks; it still reads every token. A head
 * that is tied to the embedding becomes a separate tensor at the place of the embedding's first rows.
 */
export function narrowHead(manifest: Manifest, most: number): Manifest {
  const { spec, tensors } = manifest;
  const head = tensors.get(headTensor(spec));
  if (head === undefined) return manifest;
  const { rows, rowBytes } = rowsOf(head);
  const blocks = Math.ceil(most / head.rowsPerBlock);
  const kept = blocks * head.rowsPerBlock;
  if (kept >= rows) return manifest;
  const narrow = {
    ...head,
    name: tensorNames.head,
    shape: [kept, ...head.shape.slice(1)],
    bytes: kept * rowBytes,
    checksums: head.checksums.subarray(0, blocks),
  };
  return {
    ...manifest,
    spec: { ...spec, tiedHead: false, vocabSize: kept },
    tensors: new Map(tensors).set(narrow.name, narrow),
  };
}
