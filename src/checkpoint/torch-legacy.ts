/**
 * What `torch.save` wrote before PyTorch 1.6, and still writes when asked to: pickles and raw bytes, one
 * after the other.
 *
 *     pickle   magic number 0x1950a86a20f9469cfc6c
 *     pickle   protocol version, 1001
 *     pickle   {'little_endian': True, ...}
 *     pickle   the state_dict; tensors name their storage by key
 *     pickle   list of the keys, in the order of
 *     raw      per storage: number of elements, i64; the elements
 */

import { type ErrorPlace, InputError } from '../errors.ts';
import type { RangeFile } from './file.ts';
import { brief } from './json-file.ts';
import { maxPickleBytes, unpickle } from './pickle.ts';
import type { PickleValue } from './pickle-values.ts';
import { isCount } from './shape.ts';
import type { TensorSource } from './source.ts';
import { dtypeOfTorch, sourceDTypes, unreadTorch } from './source-dtype.ts';
import { TorchHost } from './torch-globals.ts';
import type { StorageRef } from './torch-refs.ts';
import { type StorageRange, torchTensors } from './torch-tensors.ts';

/** The magic number as stored in the file, after PROTO n: LONG1, its length, its bytes. */
const magic = Buffer.from('8a0a6cfc9c46f9206aa85019', 'hex');

/** Offset of the magic number: after the PROTO opcode and its argument. */
const magicOffset = 2;

/** Bytes that `isTorchLegacy` needs to see. */
export const legacyHeadBytes = magicOffset + magic.length;

const formatVersion = 1001;

/** Bytes of the number of elements in front of each storage. */
const countBytes = 8;

/** True when `head`, the first bytes of a file, begins a legacy torch file. */
export function isTorchLegacy(head: Uint8Array): boolean {
  return magic.equals(head.subarray(magicOffset, legacyHeadBytes));
}

/**
 * The tensors of a legacy file.
 * @throws InputError when it is damaged, truncated or big-endian, or its pickle uses a name that is not
 * allowed.
 */
export async function readTorchLegacy(file: RangeFile): Promise<Omit<TensorSource, 'close'>> {
  const place = { file: file.path };
  // The end of the pickles is known only after they have been read.
  const bytes = Buffer.alloc(Math.min(file.size, maxPickleBytes));
  await file.read(0, bytes);
  const host = new TorchHost();
  let position = 0;
  const next = (): PickleValue => {
    const { value, end } = unpickle(bytes, { file: file.path, offset: 0 }, host, position);
    position = end;
    return value;
  };

  next(); // the magic number
  const version = next();
  if (version !== formatVersion) {
    throw new InputError(`legacy format version ${show(version)} is not supported`, place);
  }
  const system = next();
  if (system instanceof Map && system.get('little_endian') === false) {
    throw new InputError('was saved on a big-endian machine, which is not supported', place);
  }
  const root = next();
  const keys = next();
  if (!Array.isArray(keys)) throw new InputError('damaged: the list of storages is missing', place);
  return torchTensors(root, file, await storageRanges(file, keys, host.storages, position));
}

/** Walks over the raw storages that start at byte `start`. */
async function storageRanges(
  file: RangeFile,
  keys: readonly PickleValue[],
  storages: ReadonlyMap<string, StorageRef>,
  start: number,
): Promise<ReadonlyMap<string, StorageRange>> {
  const ranges = new Map<string, StorageRange>();
  const head = Buffer.alloc(countBytes);
  let offset = start;
  for (const key of keys) {
    const place = { file: file.path, offset };
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (storage === undefined || ranges.has(storage.key)) {
      throw new InputError(`damaged: no tensor uses storage ${show(key)}, or two do`, place);
    }
    await file.read(offset, head);
    const elements = Number(head.readBigInt64LE());
    const bytes = elements * elementBytes(storage, place);
    offset += countBytes;
    if (elements !== storage.elements || !isCount(bytes)) {
      throw new InputError(
        `damaged: storage ${brief(storage.key)} has ${elements} elements here, but ${storage.elements} in the pickle`,
        place,
      );
    }
    if (offset + bytes > file.size) {
      throw new InputError(
        `truncated: storage ${brief(storage.key)} ends at byte ${offset + bytes}, but the file has ${file.size} bytes`,
        place,
        'Download the file again',
      );
    }
    ranges.set(storage.key, { offset, bytes });
    offset += bytes;
  }
  return ranges;
}

/** Without the size of its elements, the data after an unknown storage could not be located. */
function elementBytes({ dtype, key }: StorageRef, place: ErrorPlace): number {
  const known = dtypeOfTorch.get(dtype);
  const bytes = known === undefined ? unreadTorch.get(dtype) : sourceDTypes[known].bytes;
  if (bytes !== undefined) return bytes;
  throw new InputError(`dtype ${dtype} of storage ${brief(key)} is not supported`, place);
}

function show(value: PickleValue): string {
  return typeof value === 'object' ? 'of a strange type' : brief(value);
}
