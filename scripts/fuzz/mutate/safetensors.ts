/** Safetensors files with a false header. */

import { sectorBytes } from '../../../src/flash/layout.ts';
import type { Dice } from '../../../test/support/random.ts';
import { hostileIntegers, hostileNumbers, hostileTexts } from '../hostile-values.ts';
import { formatDocument, type JsonNode, leaf, parseDocument } from '../json-document.ts';
import { writeInteger } from './bytes.ts';
import { mutateTree } from './json.ts';
import { type Donors, type Mutation, short } from './mutation.ts';

const lengthBytes = 8;

/** The two parts of a file; null if it has no header. */
export function splitSafetensors(file: Buffer): { header: JsonNode; data: Buffer } | null {
  if (file.length < lengthBytes) return null;
  const dataStart = lengthBytes + Number(file.readBigUInt64LE());
  if (dataStart > file.length) return null;
  try {
    const header = parseDocument(file.toString('utf8', lengthBytes, dataStart));
    return { header, data: file.subarray(dataStart) };
  } catch {
    return null;
  }
}

/** A file of header and data; the header is padded to a multiple of `alignment` bytes. */
export function joinSafetensors(header: JsonNode, data: Buffer, alignment: number): Buffer {
  const json = Buffer.from(formatDocument(header));
  const bytes = Math.ceil((lengthBytes + json.length) / alignment) * alignment;
  const head = Buffer.alloc(bytes, ' ');
  head.writeBigUInt64LE(BigInt(bytes - lengthBytes));
  json.copy(head, lengthBytes);
  return Buffer.concat([head, data]);
}

/** Fields of one tensor's entry, with false values for them. */
const lies: Readonly<Record<string, (dice: Dice) => string>> = {
  dtype: (dice) =>
    JSON.stringify(
      dice.pick([
        'F64',
        'F32',
        'F16',
        'BF16',
        'F8_E4M3',
        'I64',
        'U8',
        'BOOL',
        'I4',
        'constructor',
        '',
      ]),
    ),
  shape: (dice) => {
    const sizes = Array.from({ length: dice.between(0, 4) }, () => dice.pick(hostileNumbers));
    return dice.chance(0.1) ? `[${'1,'.repeat(100)}1]` : `[${sizes.join(',')}]`;
  },
  data_offsets: (dice) => `[${dice.pick(hostileNumbers)},${dice.pick(hostileNumbers)}]`,
};

function lieAboutTensor(header: JsonNode, dice: Dice): string | null {
  if (header.kind !== 'map' || header.entries.length === 0) return null;
  const [name, entry] = dice.pick(header.entries);
  if (entry.kind !== 'map') return null;
  const field = dice.pick(Object.keys(lies));
  const text = lies[field]?.(dice) ?? 'null';
  const at = entry.entries.findIndex(([key]) => key === field);
  if (at >= 0) entry.entries[at] = [field, leaf(text)];
  return `${short(name)} ${field} = ${short(text)}`;
}

/** Two tensors exchange one field, or all of them. */
function exchangeFields(header: JsonNode, dice: Dice): string | null {
  if (header.kind !== 'map' || header.entries.length < 2) return null;
  const [one, two] = [dice.pick(header.entries), dice.pick(header.entries)];
  const field = dice.pick([...Object.keys(lies), 'all']);
  if (one[1].kind !== 'map' || two[1].kind !== 'map') return null;
  if (field === 'all') {
    [one[0], two[0]] = [two[0], one[0]];
  } else {
    const find = (node: JsonNode) =>
      node.kind === 'map' ? node.entries.find(([key]) => key === field) : undefined;
    const [a, b] = [find(one[1]), find(two[1])];
    if (a === undefined || b === undefined) return null;
    [a[1], b[1]] = [b[1], a[1]];
  }
  return `${short(one[0])} and ${short(two[0])} exchange ${field}`;
}

function renameTensor(header: JsonNode, dice: Dice): string | null {
  if (header.kind !== 'map' || header.entries.length === 0) return null;
  const entry = dice.pick(header.entries);
  const other = dice.pick(header.entries)[0];
  const name = dice.chance(0.3)
    ? other
    : dice.chance(0.5)
      ? `${entry[0]}.bias`
      : dice.pick(hostileTexts);
  const what = `${short(entry[0])} is called ${short(name)}`;
  entry[0] = name;
  return what;
}

/** Extreme values: NaN, infinity, the largest. */
function spoilData(data: Buffer, dice: Dice): string {
  const value = dice.pick([0x7fff, 0x7c00, 0xfc00, 0x7f80, 0xff80, 0xffff, 0x7bff, 0x0001]);
  const count = dice.pick([1, 1, 16, Math.floor(data.length / 2)]);
  let at = 2 * dice.between(0, Math.max(0, Math.floor(data.length / 2) - count));
  for (let i = 0; i < count && at + 2 <= data.length; i++, at += 2) data.writeUInt16LE(value, at);
  return `${count} values are 0x${value.toString(16)}`;
}

/** A safetensors file with one thing wrong that its reader has to see. */
export function mutateSafetensors(bytes: Buffer, dice: Dice, donors: Donors): Mutation | null {
  const parts = splitSafetensors(bytes);
  if (parts === null) return null;
  const { header } = parts;
  const data = Buffer.from(parts.data);
  const kind = dice.next();
  if (kind < 0.08) {
    const changed = Buffer.from(bytes);
    const length = dice.pick([...hostileIntegers, BigInt(changed.length - lengthBytes + 1)]);
    writeInteger(changed, 0, lengthBytes, length);
    return { bytes: changed, what: `header of ${length} bytes` };
  }
  const what =
    kind < 0.25
      ? mutateTree(header, dice, donors)
      : kind < 0.5
        ? lieAboutTensor(header, dice)
        : kind < 0.65
          ? exchangeFields(header, dice)
          : kind < 0.8
            ? renameTensor(header, dice)
            : spoilData(data, dice);
  if (what === null) return null;
  // Ours begin their data at a sector.
  const alignment = (bytes.length - data.length) % sectorBytes === 0 ? sectorBytes : lengthBytes;
  return { bytes: joinSafetensors(header, data, alignment), what };
}
