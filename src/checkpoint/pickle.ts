/** Evaluates a pickle without executing anything; a `PickleHost` decides which names are known. */

import { InputError } from '../errors.ts';
import { PickleMachine } from './pickle-machine.ts';
import { operations, stopCode } from './pickle-operations.ts';
import { PickleReader } from './pickle-reader.ts';
import { type PickleHost, PickleRefusal, type PickleValue } from './pickle-values.ts';

/** Largest pickle that is read, in bytes: a tensor takes about 150, and its data is stored elsewhere. */
export const maxPickleBytes = 16 * 2 ** 20;

/** Where the bytes of a pickle come from, for messages. */
export interface PickleOrigin {
  readonly file: string;
  /** Offset in the file of byte 0, in bytes. */
  readonly offset: number;
}

/**
 * Evaluates the pickle that starts at byte `start` of `bytes`; `end` is the byte after it.
 * @throws InputError with the byte of the file when the pickle is damaged, or uses a name that neither the
 * interpreter nor the host knows.
 */
export function unpickle(
  bytes: Uint8Array,
  origin: PickleOrigin,
  host: PickleHost,
  start = 0,
): { readonly value: PickleValue; readonly end: number } {
  const reader = new PickleReader(bytes, start);
  const machine = new PickleMachine(reader, host);
  let at = start;
  try {
    for (;;) {
      at = reader.position;
      const code = reader.u8();
      if (code === stopCode) return { value: machine.pop(), end: reader.position };
      const run = operations.get(code);
      if (run === undefined) {
        throw new PickleRefusal(`the pickle has an unknown opcode 0x${code.toString(16)}`);
      }
      run(machine);
    }
  } catch (error) {
    if (!(error instanceof PickleRefusal)) throw error;
    throw new InputError(
      error.message,
      { file: origin.file, offset: origin.offset + at },
      error.hint,
    );
  }
}
