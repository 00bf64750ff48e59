/** predictors.safetensors with a changed header, with or without corrected checksums. */

import { crc32 } from 'node:zlib';
import { crcHex } from '../../../src/flash/checksum.ts';
import { sectorBytes } from '../../../src/flash/layout.ts';
import type { Dice } from '../../../test/support/random.ts';
import { formatDocument, type JsonNode, leaf, parseDocument } from '../json-document.ts';
import { mutateTree } from './json.ts';
import type { Donors, Mutation } from './mutation.ts';
import { joinSafetensors, mutateSafetensors, splitSafetensors } from './safetensors.ts';

const checksumField = /"crc32":"[0-9a-f]{8}"/;
const unset = '"crc32":"00000000"';

/** The node under `keys`; null if one is missing. */
function find(node: JsonNode, ...keys: readonly string[]): JsonNode | null {
  let at: JsonNode | undefined = node;
  for (const key of keys) {
    if (at?.kind !== 'map') return null;
    at = at.entries.find(([name]) => name === key)?.[1];
  }
  return at ?? null;
}

/** Sets what is under `key` in a map. */
function set(node: JsonNode | null, key: string, text: string): void {
  if (node?.kind !== 'map') return;
  const at = node.entries.findIndex(([name]) => name === key);
  if (at >= 0) node.entries[at] = [key, leaf(text)];
}

/** The document within the header: JSON in a string of its metadata. */
function innerDocument(header: JsonNode): JsonNode | null {
  const node = find(header, '__metadata__', 'predictors');
  if (node?.kind !== 'leaf') return null;
  try {
    const text: unknown = JSON.parse(node.text);
    return typeof text === 'string' ? parseDocument(text) : null;
  } catch {
    return null;
  }
}

function setInner(header: JsonNode, document: JsonNode): void {
  const metadata = find(header, '__metadata__');
  set(metadata, 'predictors', JSON.stringify(formatDocument(document)));
}

/** Changes one thing in header or data; the checksums are left to {@link mendPredictors}. */
export function mutatePredictors(bytes: Buffer, dice: Dice, donors: Donors): Mutation | null {
  const parts = splitSafetensors(bytes);
  const inner = parts && innerDocument(parts.header);
  if (parts === null || inner === null) return null;
  if (dice.chance(0.4)) return mutateSafetensors(bytes, dice, donors);
  const what = mutateTree(inner, dice, donors);
  if (what === null) return null;
  setInner(parts.header, inner);
  return { bytes: joinSafetensors(parts.header, parts.data, sectorBytes), what };
}

/**
 * Corrects the header's checksum, and those of the tensors as far as they can be found, so that readers
 * get past them to the change.
 * @param model the checksum of the model's flash.json
 */
export function mendPredictors(bytes: Buffer, model: string | null): Buffer {
  const parts = splitSafetensors(bytes);
  if (parts === null) return bytes;
  const { header, data } = parts;
  const inner = innerDocument(header);
  if (inner !== null) {
    if (model !== null) set(inner, 'model', JSON.stringify(model));
    mendTensors(header, inner, data);
    setInner(header, inner);
  }
  const file = joinSafetensors(header, data, sectorBytes);
  const length = file.length - data.length;
  const text = file.toString('latin1', 0, length).replace(checksumField, unset);
  file.write(text.replace(unset, `"crc32":"${crcHex(text)}"`), 'latin1');
  return file;
}

function mendTensors(header: JsonNode, inner: JsonNode, data: Buffer): void {
  const checksums = find(inner, 'checksums');
  if (checksums?.kind !== 'map') return;
  for (const [name] of checksums.entries) {
    const range = find(header, name, 'data_offsets');
    if (range?.kind !== 'list') continue;
    const [begin = 0, end = 0] = range.items.map((item) =>
      item.kind === 'leaf' ? Number(item.text) : 0,
    );
    if (!(begin >= 0 && end >= begin && end <= data.length)) continue;
    set(checksums, name, String(crc32(data.subarray(begin, end))));
  }
}
