/** The weights that a token uses, and their order. */

import { sectorBytes } from '../flash/layout.ts';
import { type Manifest, rowsOf, type StoredTensor } from '../flash/manifest.ts';
import { blockBytesOf, spanOf } from '../flash/row-range.ts';
import { headTensor, tensorNames } from '../models/spec.ts';
import { attentionMatrices } from '../models/spec-tensors.ts';

/**
 * Matrices in the order in which a token uses them: the body, then the head. `bundles` are the units of FFNs
 * that are used in full; experts are not among them.
 */
export function matricesInOrder({ spec, tensors, ffns }: Manifest): {
  matrices: StoredTensor[];
  bundles: StoredTensor[];
  body: StoredTensor[];
  head: StoredTensor[];
} {
  const get = (name: string) => {
    const tensor = tensors.get(name);
    return tensor === undefined ? [] : [tensor];
  };
  const body = [...get(tensorNames.projectIn)];
  const bundles: StoredTensor[] = [];
  for (let layer = 0; layer < spec.layers; layer++) {
    const whole = (ffns[layer] ?? []).filter(({ kind }) => kind !== 'expert');
    const ffn = whole.flatMap(({ tensor }) => get(tensor));
    const attention = [
      ...attentionMatrices(spec, layer, tensors).flatMap(get),
      ...get(`${tensorNames.attentionOut(layer)}.weight`),
    ];
    const router = get(`${tensorNames.router(layer)}.weight`);
    const { early = false } = spec.ffn.experts ?? {};
    body.push(...(early ? [...router, ...attention] : [...attention, ...router]), ...ffn);
    bundles.push(...ffn);
  }
  const head = [...get(tensorNames.projectOut), ...get(headTensor(spec))];
  const matrices = [...body.filter((tensor) => !bundles.includes(tensor)), ...head];
  return { matrices, bundles, body, head };
}

/** Matrices that each token passes over; a copy that proposes replaces the head, which is the last one. */
export function usedMatrices(
  matrices: readonly StoredTensor[],
  proposal: StoredTensor | null,
): readonly StoredTensor[] {
  return proposal === null ? matrices : [...matrices.slice(0, -1), proposal];
}

/** Tables of which a pass uses only a few rows. */
export function rowTables(manifest: Manifest): StoredTensor[] {
  const head = headTensor(manifest.spec);
  return [tensorNames.tokens, tensorNames.positions]
    .filter((name) => name !== head)
    .flatMap((name) => manifest.tensors.get(name) ?? []);
}

/** Bytes of a tensor's sectors. */
export function wholeBytes(tensor: StoredTensor): number {
  return spanOf({ tensor, first: 0, count: rowsOf(tensor).rows }).bytes;
}

/** The largest number of rows, in whole blocks, whose sectors take at most `bytes`. */
export function rowsThatFit(tensor: StoredTensor, bytes: number): number {
  if (wholeBytes(tensor) <= bytes) return rowsOf(tensor).rows;
  const blocks = Math.floor((bytes - 2 * sectorBytes) / blockBytesOf(tensor));
  return Math.max(0, blocks) * tensor.rowsPerBlock;
}
