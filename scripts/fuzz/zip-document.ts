/** Zip archives of stored entries taken apart; test/checkpoint/torch-writer.ts puts them together. */

export interface ZipDocument {
  /** Data by name, in the order of the directory. */
  readonly entries: [name: string, data: Buffer][];
  /** Positions of numbers: sizes, offsets, flags, counts. */
  readonly fields: readonly ZipField[];
}

export interface ZipField {
  readonly what: string;
  readonly at: number;
  readonly width: 2 | 4;
}

/** Fields by their place in a structure. */
type Layout = readonly (readonly [what: string, at: number, width: 2 | 4])[];

const localLayout: Layout = [
  ['local signature', 0, 4],
  ['local flags', 6, 2],
  ['local method', 8, 2],
  ['local packed size', 18, 4],
  ['local size', 22, 4],
  ['local name length', 26, 2],
  ['local extra length', 28, 2],
];
const centralLayout: Layout = [
  ['signature', 0, 4],
  ['version needed', 6, 2],
  ['flags', 8, 2],
  ['method', 10, 2],
  ['checksum', 16, 4],
  ['packed size', 20, 4],
  ['size', 24, 4],
  ['name length', 28, 2],
  ['extra length', 30, 2],
  ['comment length', 32, 2],
  ['offset', 42, 4],
];
const endLayout: Layout = [
  ['disk', 4, 2],
  ['disk of the directory', 6, 2],
  ['entries here', 8, 2],
  ['entries', 10, 2],
  ['directory size', 12, 4],
  ['directory offset', 16, 4],
  ['end comment length', 20, 2],
];

/** @throws RangeError if there is no complete archive with sizes of 32 bits */
export function parseZip(file: Buffer): ZipDocument {
  const end = file.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  if (end < 0) throw new RangeError('no archive');
  const fields: ZipField[] = [];
  const note = (layout: Layout, start: number) => {
    for (const [what, at, width] of layout) fields.push({ what, at: start + at, width });
  };
  note(endLayout, end);
  const entries: [string, Buffer][] = [];
  let at = file.readUInt32LE(end + 16);
  for (let left = file.readUInt16LE(end + 10); left > 0; left--) {
    note(centralLayout, at);
    const nameLength = file.readUInt16LE(at + 28);
    const size = file.readUInt32LE(at + 24);
    const local = file.readUInt32LE(at + 42);
    note(localLayout, local);
    const start = local + 30 + file.readUInt16LE(local + 26) + file.readUInt16LE(local + 28);
    if (start + size > file.length) throw new RangeError('an entry beyond the end');
    entries.push([
      file.toString('utf8', at + 46, at + 46 + nameLength),
      file.subarray(start, start + size),
    ]);
    at += 46 + nameLength + file.readUInt16LE(at + 30) + file.readUInt16LE(at + 32);
  }
  return { entries, fields };
}
