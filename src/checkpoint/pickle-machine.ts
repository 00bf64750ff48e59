/** The state of a pickle being evaluated: a stack with marks and a memo, all of bounded size. */

import type { PickleReader } from './pickle-reader.ts';
import { type PickleHost, PickleRefusal, PickleTuple, type PickleValue } from './pickle-values.ts';

/** Most values on the stack at once. A dictionary of n tensors needs about 2 n. */
const maxStack = 2 ** 20;

/** Most memo entries. A tensor takes about 10. */
const maxMemo = 2 ** 21;

/**
 * Most lists, dictionaries, tuples and other objects: one byte of pickle can make 200 bytes of
 * memory. A tensor takes 7.
 */
const maxObjects = 2 ** 19;

const emptyTuple = new PickleTuple([]);

export class PickleMachine {
  readonly reader: PickleReader;
  readonly host: PickleHost;
  readonly #stack: PickleValue[] = [];
  /** Heights of the stack at which a mark was set. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #objects = 0;

  constructor(reader: PickleReader, host: PickleHost) {
    this.reader = reader;
    this.host = host;
  }

  push(value: PickleValue): void {
    if (this.#stack.length >= maxStack) throw new PickleRefusal('the pickle nests too much');
    this.#stack.push(value);
  }

  /** Pushes a newly made object. */
  make(value: PickleValue): void {
    if (++this.#objects > maxObjects) {
      throw new PickleRefusal(`the pickle makes more than ${maxObjects} objects`);
    }
    this.push(value);
  }

  makeTuple(items: readonly PickleValue[]): void {
    if (items.length === 0) this.push(emptyTuple);
    else this.make(new PickleTuple(items));
  }

  pop(): PickleValue {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw underflow();
    return this.#stack.pop() as PickleValue;
  }

  /** The top of the stack, left there. */
  top(): PickleValue {
    const value = this.pop();
    this.#stack.push(value);
    return value;
  }

  /** The top `count` values, in the order they were pushed. */
  popMany(count: number): PickleValue[] {
    const start = this.#stack.length - count;
    if (start < (this.#marks.at(-1) ?? 0)) throw underflow();
    return this.#stack.splice(start);
  }

  mark(): void {
    if (this.#marks.length >= maxStack) throw new PickleRefusal('the pickle nests too much');
    this.#marks.push(this.#stack.length);
  }

  /** All values above the last mark, in the order they were pushed; the mark is gone. */
  popToMark(): PickleValue[] {
    const height = this.#marks.pop();
    if (height === undefined) throw underflow();
    return this.#stack.splice(height);
  }

  popTuple(): PickleTuple {
    const value = this.pop();
    if (value instanceof PickleTuple) return value;
    throw new PickleRefusal('damaged pickle: a tuple is expected');
  }

  popText(): string {
    const value = this.pop();
    if (typeof value === 'string') return value;
    throw new PickleRefusal('damaged pickle: a string is expected');
  }

  topList(): PickleValue[] {
    const value = this.top();
    if (Array.isArray(value)) return value;
    throw new PickleRefusal('damaged pickle: a list is expected');
  }

  topDict(): Map<PickleValue, PickleValue> {
    const value = this.top();
    if (value instanceof Map) return value;
    throw new PickleRefusal('damaged pickle: a dictionary is expected');
  }

  /** Stores the top of the stack in the memo; without an index, at the next free one. */
  memoize(index = this.#memo.size): void {
    if (this.#memo.size >= maxMemo) throw new PickleRefusal('the pickle has too many memo entries');
    this.#memo.set(index, this.top());
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) {
      throw new PickleRefusal(`damaged pickle: memo ${index} is used before it is set`);
    }
    this.push(value);
  }
}

function underflow(): PickleRefusal {
  return new PickleRefusal('damaged pickle: the stack has too few values or marks');
}
