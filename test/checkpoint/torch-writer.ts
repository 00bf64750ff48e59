/** Writes files as torch.save does, views and all, and with as many mistakes as a test wants. */

import { crc32 } from 'node:zlib';

export interface WrittenTensor {
  readonly key: string;
  /** Such as `HalfStorage`. */
  readonly storageClass: string;
  /** Elements of the storage. */
  readonly elements: number;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(5, 'X');
  length.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([length, bytes]);
};

const integer = (value: number): Buffer => {
  const bytes = Buffer.alloc(10);
  bytes.write('\x8a\x08', 'latin1');
  bytes.writeBigInt64LE(BigInt(value), 2);
  return bytes;
};

const code = (codes: string): Buffer => Buffer.from(codes, 'latin1');
const tuple = (...items: Buffer[]): Buffer => Buffer.concat([code('('), ...items, code('t')]);

function tensor({ key, storageClass, elements, offset, shape, strides }: WrittenTensor): Buffer {
  const storage = tuple(
    text('storage'),
    code(`ctorch\n${storageClass}\n`),
    text(key),
    text('cpu'),
    integer(elements),
  );
  const args = tuple(
    Buffer.concat([storage, code('Q')]),
    integer(offset),
    tuple(...shape.map(integer)),
    tuple(...strides.map(integer)),
    code('\x89'),
    code('ccollections\nOrderedDict\n)R'),
  );
  return Buffer.concat([code('ctorch._utils\n_rebuild_tensor_v2\n'), args, code('R')]);
}

/** The pickle of {name: tensor, ...}. */
export function torchPickle(tensors: Readonly<Record<string, WrittenTensor>>): Buffer {
  const items = Object.entries(tensors).flatMap(([name, value]) => [text(name), tensor(value)]);
  return Buffer.concat([code('\x80\x02}('), ...items, code('u.')]);
}

/** A zip archive of stored entries. */
export function zipBytes(entries: Readonly<Record<string, Uint8Array>>): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, data] of Object.entries(entries)) {
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    // Node 20.15 has crc32 in its zlib; readers by range do not check it.
    shared.writeUInt32LE(crc32(data), 10);
    shared.writeUInt32LE(data.length, 14);
    shared.writeUInt32LE(data.length, 18);
    shared.writeUInt16LE(name.length, 22);
    const place = Buffer.alloc(14);
    place.writeUInt32LE(offset, 10);
    directory.push(code('PK\x01\x02\x14\0'), shared, place, code(name));
    const local = Buffer.concat([code('PK\x03\x04'), shared, code(name), data]);
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(Object.keys(entries).length, 8);
  end.writeUInt16LE(Object.keys(entries).length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}

/** A whole file: the tensors, and the bytes of the storages by key. */
export function torchZip(
  pickle: Uint8Array,
  storages: Readonly<Record<string, Uint8Array>>,
): Buffer {
  const data = Object.entries(storages).map(([key, bytes]) => [`archive/data/${key}`, bytes]);
  return zipBytes({ 'archive/data.pkl': pickle, ...Object.fromEntries(data) });
}
