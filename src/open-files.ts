/** How many files this process may have open (`ulimit -n`), and the errors for too many open files. */

import { readdirSync } from 'node:fs';
import { readText } from './control-groups.ts';
import { type ErrorPlace, FlashError, IoError } from './errors.ts';

/** Files that a worker thread has open for its event loop: 4 on Node 20, 5 from 22 on. */
const workerFiles = 5;
/** Reserve for a model, a text, and files that Node opens briefly. */
const otherFiles = 10;

/**
 * The most files that may be open, or null where the system does not report it.
 * @param root directory that holds /proc
 */
function openFilesLimit(root = ''): number | null {
  const table = readText(`${root}/proc/self/limits`) ?? '';
  const limit = /^Max open files +(\d+) /m.exec(table)?.[1];
  return limit === undefined ? null : Number(limit);
}

/**
 * How many compute threads the limit allows, including the calling thread.
 * @param others number of files that are yet to be opened
 */
export function threadsWithinOpenFiles(root = '', others = otherFiles): number {
  const limit = openFilesLimit(root);
  if (limit === null) return Number.POSITIVE_INFINITY;
  return 1 + Math.max(0, Math.floor((limit - openFiles(root) - others) / workerFiles));
}

function openFiles(root: string): number {
  try {
    return readdirSync(`${root}/proc/self/fd`).length;
  } catch {
    return 0;
  }
}

/** Error codes for too many open files: in the process, and in the whole system. */
const codes = ['EMFILE', 'ENFILE'] as const;

/** An error that names the limit, if too many open files caused `error`; null if not. */
export function tooManyFiles(error: unknown): IoError | null {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    // The error of a worker that cannot start has the code only in its message.
    const found = codes.find((name) => name === code || message.includes(name));
    if (found === undefined) continue;
    const place = error instanceof FlashError ? error.place : {};
    if (found === 'EMFILE') return limitError(place, 'Raise the limit', error);
    const hint = 'End other programs';
    return new IoError('the system has too many open files', place, hint, { cause: error });
  }
  return null;
}

/** The same error, for this number of compute threads. */
export function tooManyThreads(threads: number): IoError {
  return limitError({}, `Raise the limit, or give fewer than ${threads} --threads`);
}

function limitError(place: ErrorPlace, hint: string, cause?: unknown): IoError {
  const limit = openFilesLimit();
  const most = limit === null ? '' : `: this process may have ${limit} (ulimit -n)`;
  return new IoError(`too many open files${most}`, place, hint, { cause });
}
