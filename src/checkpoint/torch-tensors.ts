/** From the evaluated pickle of a torch file to its tensors: names, checks, reads. */

import { type ErrorPlace, InputError } from '../errors.ts';
import type { RangeFile } from './file.ts';
import { brief } from './json-file.ts';
import { PickleTuple, type PickleValue } from './pickle-values.ts';
import { checkReadRange, elementCount, isCount, maxDimensions } from './shape.ts';
import type { SourceTensor, TensorSource } from './source.ts';
import { dtypeOfTorch, sourceDTypes } from './source-dtype.ts';
import { isContiguous, readStrided, simplify } from './strided.ts';
import { checkTensorName } from './tensor-name.ts';
import { type StorageRef, TensorRef } from './torch-refs.ts';
import { unreadTensor } from './unread-tensor.ts';

/** Location of the bytes of a storage in the file. */
export interface StorageRange {
  /** First byte. */
  readonly offset: number;
  readonly bytes: number;
}

/** Deepest nesting of dictionaries: a state_dict has one level, a training checkpoint three. */
const maxDepth = 16;

/** The most values that are visited: containers may hold each other many times over. */
const maxVisits = 2 ** 18;

/**
 * All tensors in `root`, nested dictionaries flattened: {'model': {'w': t}} gives `model.w`.
 * @param ranges locations of the storages, by key.
 * @returns the tensors, and the bytes of their storages, each counted once.
 * @throws InputError that names the tensor that cannot be used.
 */
export function torchTensors(
  root: PickleValue,
  file: RangeFile,
  ranges: ReadonlyMap<string, StorageRange>,
): Omit<TensorSource, 'close'> {
  const tensors = new Map<string, SourceTensor>();
  const used = new Map<string, number>();
  for (const [name, ref] of namedTensors(root, file.path)) {
    if (tensors.has(name)) {
      throw new InputError('two tensors of the file have this name', {
        file: file.path,
        tensor: name,
      });
    }
    const { key } = ref.storage;
    const range = ranges.get(key);
    if (range === undefined) {
      throw new InputError(
        `its storage ${brief(key)} is missing`,
        { file: file.path, tensor: name },
        'Download the file again',
      );
    }
    tensors.set(name, stridedTensor(name, ref, file, range));
    used.set(key, range.bytes);
  }
  let bytes = 0;
  for (const storageBytes of used.values()) bytes += storageBytes;
  return { tensors, bytes };
}

function* namedTensors(root: PickleValue, file: string): Generator<[string, TensorRef]> {
  if (root instanceof TensorRef) {
    throw new InputError('holds a single tensor without a name, not a state_dict', { file });
  }
  let visits = 0;
  function* visit(value: PickleValue, path: readonly string[]): Generator<[string, TensorRef]> {
    if (value instanceof TensorRef) {
      const name = path.join('.');
      checkTensorName(name, file);
      yield [name, value];
      return;
    }
    for (const [key, child] of children(value)) {
      if (++visits > maxVisits || path.length >= maxDepth) {
        throw new InputError('its dictionaries are nested too deeply', { file });
      }
      yield* visit(child, [...path, key]);
    }
  }
  yield* visit(root, []);
}

/** The content of a container, by name or index. Values that are not containers hold nothing. */
function* children(value: PickleValue): Generator<[string, PickleValue]> {
  if (value instanceof Map) {
    for (const [key, child] of value) {
      if (typeof key === 'string' || typeof key === 'number') yield [String(key), child];
    }
    return;
  }
  const items = value instanceof PickleTuple ? value.items : value;
  if (!Array.isArray(items)) return;
  for (const [index, child] of items.entries()) yield [String(index), child];
}

function stridedTensor(
  name: string,
  ref: TensorRef,
  file: RangeFile,
  range: StorageRange,
): SourceTensor {
  const place = { file: file.path, tensor: name };
  const dtype = dtypeOfTorch.get(ref.dtype);
  if (dtype === undefined) {
    const unread = { name, shape: ref.shape, file: file.path, storedAs: ref.dtype };
    return unreadTensor(unread, () => {
      const known = [...dtypeOfTorch.keys()].join(', ');
      return new InputError(`dtype ${ref.dtype} is not supported (supported: ${known})`, place);
    });
  }
  const elementBytes = sourceDTypes[dtype].bytes;
  checkStorage(ref.storage, range, place);
  const elements = checkGeometry(ref, range, elementBytes, place);
  const dimensions = simplify(ref.shape, ref.strides);
  const view = { name, elementBytes, dimensions, offset: range.offset + ref.offset * elementBytes };
  return {
    name,
    dtype,
    shape: ref.shape,
    file: file.path,
    contiguous: elements === 0 || isContiguous(dimensions),
    async read(start, count, target) {
      checkReadRange(name, elements, elementBytes, start, count, target);
      await readStrided(file, view, start, count, target);
    },
  };
}

function checkStorage(storage: StorageRef, range: StorageRange, place: ErrorPlace): void {
  if (storage.isView) {
    throw new InputError(
      'its storage is a view of another one, which only files of PyTorch before 0.4 have',
      place,
      'Load the file in Python and save its state_dict again',
    );
  }
  const dtype = dtypeOfTorch.get(storage.dtype);
  const needed = storage.elements * (dtype === undefined ? 1 : sourceDTypes[dtype].bytes);
  if (!isCount(needed) || needed > range.bytes) {
    throw new InputError(
      `its storage ${brief(storage.key)} needs ${needed} bytes, but the file has ${range.bytes}`,
      { ...place, offset: range.offset },
      'Download the file again',
    );
  }
}

/** The number of elements, after checking that all of them lie inside the storage. */
function checkGeometry(
  { shape, strides, offset }: TensorRef,
  range: StorageRange,
  elementBytes: number,
  place: ErrorPlace,
): number {
  const elements = shape.every(isCount) ? elementCount(shape) : undefined;
  if (
    elements === undefined ||
    shape.length > maxDimensions ||
    strides.length !== shape.length ||
    !strides.every(isCount) ||
    !isCount(offset)
  ) {
    throw new InputError(
      `shape ${brief(shape)}, strides ${brief(strides)}, offset ${offset} do not describe a tensor`,
      place,
    );
  }
  // The last index of each dimension; beyond 2^53 the sum is inexact, but far too large anyway.
  const last = shape.reduce((at, size, d) => at + (size - 1) * (strides[d] as number), offset);
  const capacity = Math.floor(range.bytes / elementBytes);
  if (elements > 0 && last >= capacity) {
    throw new InputError(
      `it needs element ${last} of its storage, which has only ${capacity} elements`,
      place,
      'Download the file again',
    );
  }
  return elements;
}
