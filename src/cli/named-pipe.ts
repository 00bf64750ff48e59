/** Named pipes as texts. */

import { readSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { InputError } from '../errors.ts';

/** Whoever writes may start at the same time, hardly later. */
const patienceMs = 3_000;
const lookMs = 20;
const firstBytes = 65_536;

/**
 * What comes through the named pipe that `fd` has open without blocking. While nobody has the other end
 * open, it reads as if at its end; so that is waited for, and not forever.
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

/** What can be read at once; 0: nobody writes, null: somebody is about to. */
function bytesThere(fd: number, buffer: Buffer): number | null {
  try {
    return readSync(fd, buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return null;
    throw error;
  }
}
