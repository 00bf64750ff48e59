/** What a pickle can evaluate to here: plain values and inert objects. Nothing is ever executed. */

/** Base of all objects that are not plain values. */
export abstract class PickleObject {}

export class PickleTuple extends PickleObject {
  readonly items: readonly PickleValue[];
  constructor(items: readonly PickleValue[]) {
    super();
    this.items = items;
  }
}

/** A value that is known to be harmless and is not needed here: bytes, a device, a layout. */
export class PickleOpaque extends PickleObject {}

/** Lists are arrays, dictionaries are maps; integers beyond 2^53 are bigints. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleObject;

/**
 * The error for a pickle that is damaged or asks for something that is not allowed; `unpickle` adds file
 * and offset.
 */
export class PickleRefusal extends Error {
  readonly hint: string | undefined;
  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** Resolves the names in a pickle. Every method may throw a `PickleRefusal`. */
export interface PickleHost {
  /** The object that stands for `module.name`. */
  global(module: string, name: string): PickleValue;
  /** The result of `callable(*args)`. */
  call(callable: PickleValue, args: PickleTuple): PickleValue;
  /** `object.__setstate__(state)`. */
  build(object: PickleValue, state: PickleValue): void;
  /** The object that is stored outside the pickle under `id`. */
  persistent(id: PickleValue): PickleValue;
}
