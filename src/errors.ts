/**
 * The one family of errors that flashllm throws on purpose. Each carries where it happened and what
 * to do about it, so that the command line can print one clear line and a program can decide.
 */

/** Where an error happened: any part that is known. */
export interface Place {
  /** Path of the file or directory. */
  readonly file?: string;
  /** Name of the tensor inside the file. */
  readonly tensor?: string;
  /** Byte offset in the file. */
  readonly offset?: number;
}

/** What exit code a failure deserves: 1 the run failed, 2 wrong usage or unusable input. */
export type ExitCode = 1 | 2;

/** Base of all errors that carry a place and a way out. */
export class FlashError extends Error {
  readonly place: Place;
  /** What the user can do; a whole sentence without the final stop. */
  readonly hint: string | undefined;
  readonly exitCode: ExitCode = 1;

  constructor(message: string, place: Place = {}, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.place = place;
    this.hint = hint;
  }

  /** One line: what, where, what to do. */
  get line(): string {
    const { file, tensor, offset } = this.place;
    const where = [
      file,
      tensor === undefined ? undefined : `tensor ${tensor}`,
      offset === undefined ? undefined : `byte ${offset}`,
    ].filter((part) => part !== undefined);
    const text = where.length === 0 ? this.message : `${where.join(', ')}: ${this.message}`;
    return this.hint === undefined ? text : `${text}. ${this.hint}.`;
  }
}

/** Input that cannot be used: a bad checkpoint, a damaged model, a wrong flag. Exit code 2. */
export class InputError extends FlashError {
  override readonly exitCode = 2;
}

/** A budget below the floor. Exit code 2. */
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

/** An error met while writing; a full disk is unusable input, the rest is a failure of the system. */
export function writeError(cause: unknown, file: string): FlashError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOTEMPTY') {
    return new InputError('was made by someone else meanwhile', { file }, undefined, { cause });
  }
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new InputError(
      'the disk is full; nothing was left behind',
      { file },
      'Free some space or choose another place',
      { cause },
    );
  }
  return new InputError(`cannot write: ${message}`, { file }, undefined, { cause });
}
