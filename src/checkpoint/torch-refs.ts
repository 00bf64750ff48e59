/** Storages and tensors as the pickle of a torch file describes them. */

import { PickleObject, PickleRefusal, PickleTuple, type PickleValue } from './pickle-values.ts';
import { maxDimensions } from './shape.ts';

/** A storage as the pickle describes it; its bytes are elsewhere in the file. */
export class StorageRef extends PickleObject {
  /** The key of its data in the file. */
  readonly key: string;
  /** Name of the torch dtype, known here or not. */
  readonly dtype: string;
  readonly elements: number;
  /** True for a view of another storage, which only very old files have. */
  readonly isView: boolean;

  constructor(key: string, dtype: string, elements: number, isView: boolean) {
    super();
    this.key = key;
    this.dtype = dtype;
    this.elements = elements;
    this.isView = isView;
  }
}

/** A tensor as the pickle describes it. Only the types have been checked. */
export class TensorRef extends PickleObject {
  readonly storage: StorageRef;
  /** Name of the torch dtype, known here or not. */
  readonly dtype: string;
  /** Element of the storage where the tensor begins. */
  readonly offset: number;
  readonly shape: readonly number[];
  /** Per dimension, in elements. */
  readonly strides: readonly number[];

  constructor(storage: StorageRef, dtype: string, args: readonly PickleValue[]) {
    super();
    this.storage = storage;
    this.dtype = dtype;
    const [offset, shape, strides] = args;
    if (typeof offset !== 'number') throw damaged('a tensor without an offset');
    this.offset = offset;
    this.shape = numbers(shape);
    this.strides = numbers(strides);
  }
}

/** The error for a pickle that torch would not have written. */
export function damaged(what: string): PickleRefusal {
  return new PickleRefusal(`damaged pickle: ${what}`);
}

/** A short list or tuple of numbers, as shapes and strides are. */
export function numbers(value: PickleValue | undefined): readonly number[] {
  const items = value instanceof PickleTuple ? value.items : value;
  if (
    Array.isArray(items) &&
    items.length <= maxDimensions &&
    items.every((item) => typeof item === 'number')
  ) {
    return items;
  }
  throw damaged('a shape that is not a short list of numbers');
}
