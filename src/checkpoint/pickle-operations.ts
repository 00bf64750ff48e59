/**
 * The supported opcodes: those of which pickles of protocol 2 to 5 with dictionaries, lists, tuples, text,
 * numbers and rebuilt objects consist. Any other is refused. Names and meaning as in Python's
 * `pickletools`.
 */

import type { PickleMachine } from './pickle-machine.ts';
import { PickleOpaque, PickleRefusal, type PickleValue } from './pickle-values.ts';

type Operation = (machine: PickleMachine) => void;

/** Highest pickle protocol known. */
const maxProtocol = 5;

/** Byte strings are never needed here: they are skipped, and a placeholder stands for them. */
const bytes = new PickleOpaque();

/** `.`, the end of a pickle: handled by the loop, not in the table. */
export const stopCode = 0x2e;

function setItems(machine: PickleMachine, items: readonly PickleValue[]): void {
  const dict = machine.topDict();
  if (items.length % 2 !== 0) throw new PickleRefusal('damaged pickle: a key without a value');
  for (let i = 0; i < items.length; i += 2) {
    dict.set(items[i] as PickleValue, items[i + 1] as PickleValue);
  }
}

function append(machine: PickleMachine, items: readonly PickleValue[]): void {
  const list = machine.topList();
  for (const item of items) list.push(item);
}

function call(machine: PickleMachine): void {
  const args = machine.popTuple();
  machine.make(machine.host.call(machine.pop(), args));
}

function skipBytes(machine: PickleMachine, length: number): void {
  machine.reader.skip(length);
  machine.push(bytes);
}

const table: Readonly<Record<string, readonly [code: number, run: Operation]>> = {
  PROTO: [0x80, (m) => checkProtocol(m.reader.u8())],
  FRAME: [0x95, (m) => void m.reader.skip(8)],

  NONE: [0x4e, (m) => m.push(null)],
  NEWTRUE: [0x88, (m) => m.push(true)],
  NEWFALSE: [0x89, (m) => m.push(false)],
  BININT: [0x4a, (m) => m.push(m.reader.i32())],
  BININT1: [0x4b, (m) => m.push(m.reader.u8())],
  BININT2: [0x4d, (m) => m.push(m.reader.u16())],
  LONG1: [0x8a, (m) => m.push(m.reader.integer(m.reader.u8()))],
  LONG4: [0x8b, (m) => m.push(m.reader.integer(m.reader.u32()))],
  BINFLOAT: [0x47, (m) => m.push(m.reader.f64())],

  BINUNICODE: [0x58, (m) => m.push(m.reader.utf8(m.reader.u32()))],
  SHORT_BINUNICODE: [0x8c, (m) => m.push(m.reader.utf8(m.reader.u8()))],
  BINUNICODE8: [0x8d, (m) => m.push(m.reader.utf8(m.reader.u64()))],
  // A text string of Python 2.
  BINSTRING: [0x54, (m) => m.push(m.reader.latin1(m.reader.u32()))],
  SHORT_BINSTRING: [0x55, (m) => m.push(m.reader.latin1(m.reader.u8()))],
  BINBYTES: [0x42, (m) => skipBytes(m, m.reader.u32())],
  SHORT_BINBYTES: [0x43, (m) => skipBytes(m, m.reader.u8())],
  BINBYTES8: [0x8e, (m) => skipBytes(m, m.reader.u64())],
  BYTEARRAY8: [0x96, (m) => skipBytes(m, m.reader.u64())],

  MARK: [0x28, (m) => m.mark()],
  POP: [0x30, (m) => void m.pop()],
  POP_MARK: [0x31, (m) => void m.popToMark()],
  EMPTY_TUPLE: [0x29, (m) => m.makeTuple([])],
  TUPLE: [0x74, (m) => m.makeTuple(m.popToMark())],
  TUPLE1: [0x85, (m) => m.makeTuple(m.popMany(1))],
  TUPLE2: [0x86, (m) => m.makeTuple(m.popMany(2))],
  TUPLE3: [0x87, (m) => m.makeTuple(m.popMany(3))],
  EMPTY_LIST: [0x5d, (m) => m.make([])],
  APPEND: [0x61, (m) => append(m, m.popMany(1))],
  APPENDS: [0x65, (m) => append(m, m.popToMark())],
  EMPTY_DICT: [0x7d, (m) => m.make(new Map())],
  SETITEM: [0x73, (m) => setItems(m, m.popMany(2))],
  SETITEMS: [0x75, (m) => setItems(m, m.popToMark())],

  BINPUT: [0x71, (m) => m.memoize(m.reader.u8())],
  LONG_BINPUT: [0x72, (m) => m.memoize(m.reader.u32())],
  MEMOIZE: [0x94, (m) => m.memoize()],
  BINGET: [0x68, (m) => m.recall(m.reader.u8())],
  LONG_BINGET: [0x6a, (m) => m.recall(m.reader.u32())],

  GLOBAL: [
    0x63,
    (m) => {
      const module = m.reader.line();
      m.push(m.host.global(module, m.reader.line()));
    },
  ],
  STACK_GLOBAL: [
    0x93,
    (m) => {
      const name = m.popText();
      m.push(m.host.global(m.popText(), name));
    },
  ],
  REDUCE: [0x52, call],
  NEWOBJ: [0x81, call],
  BUILD: [
    0x62,
    (m) => {
      const state = m.pop();
      m.host.build(m.top(), state);
    },
  ],
  BINPERSID: [0x51, (m) => m.make(m.host.persistent(m.pop()))],
};

/** What each opcode does. */
export const operations: ReadonlyMap<number, Operation> = new Map(Object.values(table));

function checkProtocol(protocol: number): void {
  if (protocol > maxProtocol) {
    throw new PickleRefusal(`pickle protocol ${protocol} is not known (at most ${maxProtocol})`);
  }
}
