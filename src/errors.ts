/**
 * The one family of errors that flashllm throws on purpose. Each carries where it happened and what
 * to do about it, so that the command line can print one clear line and a program can decide.
 */

import { cutMiddle, oneLine, shown } from './plain-text.ts';

/** Where an error happened: the parts that are known. */
export interface ErrorPlace {
  /** Path of the file or directory. */
  readonly file?: string;
  /** Name of the tensor inside the file. */
  readonly tensor?: string;
  /** Byte offset in the file. */
  readonly offset?: number;
}

/** The most characters of a whole line, whatever names and values it quotes. */
export const longestLine = 960;
/** The most characters that are kept of a path and of a tensor's name if the line would be longer. */
const longestPath = 256;
const longestName = 128;

/** What exit code a failure deserves: 1 the run failed, 2 wrong usage or unusable input. */
export type ExitCode = 1 | 2;

/** Base of all errors that carry a place and a hint. */
export class FlashError extends Error {
  readonly place: ErrorPlace;
  /** What the user can do; a whole sentence without the final stop. */
  readonly hint: string | undefined;
  readonly exitCode: ExitCode = 1;

  constructor(message: string, place: ErrorPlace = {}, hint?: string, options?: ErrorOptions) {
    super(shown(message, longestLine), options);
    this.name = new.target.name;
    this.place = place;
    this.hint = hint;
  }

  /**
   * One line: what, where, what to do. It contains nothing that a terminal would interpret, and has at most
   * `longestLine` characters: longer parts are cut in the middle.
   */
  get line(): string {
    const whole = this.#line(longestLine, longestLine, longestLine);
    if (whole.length <= longestLine) return whole;
    const rest = this.#line(longestPath, longestName, 0).length;
    return shown(this.#line(longestPath, longestName, longestLine - rest), longestLine);
  }

  /** The line, with path, name and message each cut to the given number of characters. */
  #line(path: number, name: number, message: number): string {
    const { file, tensor, offset } = this.place;
    const where = [
      file === undefined ? undefined : shown(file, path),
      tensor === undefined ? undefined : `tensor ${shown(tensor, name)}`,
      offset === undefined ? undefined : `byte ${offset}`,
    ].filter((part) => part !== undefined);
    const what = cutMiddle(this.message, message);
    const text = where.length === 0 ? what : `${where.join(', ')}: ${what}`;
    return this.hint === undefined ? text : `${text}. ${oneLine(this.hint)}.`;
  }
}

/** Input that cannot be used: a bad checkpoint, a damaged model, a wrong flag. Exit code 2. */
export class InputError extends FlashError {
  override readonly exitCode = 2;
}

/** A memory budget below the smallest that can work. Exit code 2. */
export class BudgetError extends InputError {}

/** Reading or writing failed although the input may be fine: EIO, a full disk. Exit code 1. */
export class IoError extends FlashError {}

/** The user asked to stop. The command line exits with 130. */
export class InterruptedError extends Error {
  constructor(message = 'interrupted') {
    super(message);
    this.name = 'InterruptedError';
  }
}

/** The disk has too little free space for the data to be written. */
export class DiskFullError extends InputError {}

/** An entry exists at a path where there was none when the work began. */
export function createdMeanwhile(file: string, cause: unknown): FlashError {
  return new InputError('another process created it meanwhile', { file }, undefined, { cause });
}

/** What to do about a system error, where its name does not make that clear. */
function writeHint(code: string | undefined, platform: NodeJS.Platform): string | undefined {
  if (code === 'EXDEV') {
    return 'It cannot be renamed where it is, for example in a layer of a container image: choose another place';
  }
  if (code === 'EBUSY' && platform !== 'win32') {
    return 'It is a mount point or in use by the system: choose another place';
  }
  const held = code === 'EPERM' || code === 'EACCES' || code === 'EBUSY';
  if (!held || platform !== 'win32') return undefined;
  return 'Another program may have it open, or a file in it: end that program and try again';
}

/**
 * The error to throw for one that occurred while writing, with a hint where the code tells what to do.
 */
export function writeError(
  cause: unknown,
  file: string,
  platform: NodeJS.Platform = process.platform,
): FlashError {
  if (cause instanceof FlashError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOTEMPTY') return createdMeanwhile(file, cause);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const hint = 'Free some space or choose another place';
    return new DiskFullError('the disk is full', { file }, hint, { cause });
  }
  return new InputError(`cannot write: ${message}`, { file }, writeHint(code, platform), { cause });
}

/**
 * The error for a caller that has removed everything it had written: if the disk was full, the message says
 * that nothing was left behind.
 */
export function withNothingLeft(error: unknown): unknown {
  if (!(error instanceof DiskFullError)) return error;
  const { message, place, hint } = error;
  return new DiskFullError(`${message}; nothing was left behind`, place, hint, { cause: error });
}
