/** Reads texts from named pipes. */

import { readSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { InputError } from '../errors.ts';

/** A writer may start at the same time as this process, but hardly later than this. */
const patienceMs = 3_000;
const lookMs = 20;
const firstBytes = 65_536;

/**
 * A stream of the named pipe that `fd` has open in non-blocking mode. Until a process opens the other end,
 * the pipe reads as if at its end; so this function waits for a writer, for a limited time.
 * @param stop ends the wait with an AbortError
 * @throws InputError when nobody opens the other end
 */
export async function namedPipe(fd: number, file: string, stop: AbortSignal): Promise<Readable> {
  const buffer = Buffer.alloc(firstBytes);
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += lookMs) {
    const bytes = bytesThere(fd, buffer);
    if (bytes !== 0) {
      const stream = new Socket({ fd, readable: true, writable: false });
      if (bytes !== null) stream.unshift(buffer.subarray(0, bytes));
      return stream;
    }
    await sleep(lookMs, null, { signal: stop });
  }
  throw new InputError(
    `is a named pipe that no process opened for writing within ${patienceMs / 1000} s`,
    { file },
    'Start the program that writes to it first',
  );
}

/** Bytes that could be read at once; 0: no writer; null: a writer has opened the pipe and not written yet. */
function bytesThere(fd: number, buffer: Buffer): number | null {
  try {
    return readSync(fd, buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return null;
    throw error;
  }
}
