/** Reads the lines of a file of any size in bounded memory. */

import { createHash, type Hash, hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { fileError } from '../checkpoint/file.ts';
import { InterruptedError } from '../errors.ts';

/** One line, without its newline and without a carriage return before that. */
export interface Line {
  /** The line's number, from 1; blank lines count. */
  readonly number: number;
  /** The line's first byte in the file. */
  readonly offset: number;
  /** Its length in bytes, without the newline. */
  readonly length: number;
  /** The line's bytes, valid until the next line is read; null if the line is too long to be kept. */
  readonly bytes: Uint8Array | null;
  /** SHA-256 of all its bytes, even if they are not kept. */
  readonly digest: Uint8Array;
  /** False for a last line without a newline. */
  readonly ended: boolean;
}

/** A source of lines. */
export interface LineFile {
  readonly path: string;
  readonly source: Pick<FileHandle, 'read'>;
  /** The bytes to read. */
  readonly bytes: number;
}

const pieceBytes = 64 * 1024;
const newline = 0x0a;
const carriageReturn = 0x0d;
const byteOrderMark = Buffer.from('\ufeff');

/**
 * The lines of a file in order. A byte order mark at the beginning is skipped. A line longer than `longest`
 * bytes is read but not kept.
 * @throws the error of a failed read, as made by `fileError`; InterruptedError
 */
export async function* linesOf(
  { path, source, bytes: end }: LineFile,
  { longest, signal }: { readonly longest: number; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Line, undefined> {
  let line = new LineBuilder(1, 0, longest);
  const buffer = Buffer.allocUnsafeSlow(Math.min(pieceBytes, end));
  for (let at = 0; at < end; ) {
    if (signal?.aborted) throw new InterruptedError();
    const wanted = Math.min(pieceBytes, end - at);
    const { bytesRead } = await source.read(buffer, 0, wanted, at).catch((error) => {
      throw fileError(error, path, 'reading');
    });
    if (bytesRead === 0) break; // the file has become shorter
    const piece = buffer.subarray(0, bytesRead);
    let start = at === 0 && piece.subarray(0, 3).equals(byteOrderMark) ? 3 : 0;
    for (let stop = piece.indexOf(newline, start); stop !== -1; ) {
      yield line.finish(piece.subarray(start, stop), true);
      start = stop + 1;
      line = new LineBuilder(line.number + 1, at + start, longest);
      stop = piece.indexOf(newline, start);
    }
    line.add(piece.subarray(start));
    at += bytesRead;
  }
  if (!line.empty) yield line.finish(new Uint8Array(0), false);
}

class LineBuilder {
  readonly number: number;
  readonly #offset: number;
  readonly #longest: number;
  /** The parts of the line from earlier pieces of the file. */
  #parts: Uint8Array[] = [];
  #length = 0;
  /** The running hash of a line that is too long to be kept. */
  #hash: Hash | null = null;

  constructor(number: number, offset: number, longest: number) {
    this.number = number;
    this.#offset = offset;
    this.#longest = longest;
  }

  get empty(): boolean {
    return this.#length === 0;
  }

  /** Adds a copy of the part of the line that a piece of the file holds. */
  add(part: Uint8Array): void {
    this.#length += part.length;
    if (this.#hash === null) this.#parts.push(Uint8Array.from(part));
    else this.#hash.update(part);
    if (this.#length <= this.#longest || this.#hash !== null) return;
    this.#hash = createHash('sha256');
    for (const held of this.#parts) this.#hash.update(held);
    this.#parts = [];
  }

  /** Completes the line with its last part, which is not copied if it is the only one. */
  finish(last: Uint8Array, ended: boolean): Line {
    const { number } = this;
    const offset = this.#offset;
    if (this.#length + last.length <= this.#longest) {
      const whole = this.empty ? last : Buffer.concat([...this.#parts, last]);
      const bytes = whole.at(-1) === carriageReturn ? whole.subarray(0, -1) : whole;
      const digest = hash('sha256', bytes, 'buffer');
      return { number, offset, length: bytes.length, bytes, digest, ended };
    }
    this.add(last);
    const digest = (this.#hash ?? createHash('sha256')).digest();
    return { number, offset, length: this.#length, bytes: null, digest, ended };
  }
}

/** Whether a line holds nothing but spaces and tabs. */
export function isBlank({ bytes }: Line): boolean {
  return bytes?.every((byte) => byte === 0x20 || byte === 0x09) ?? false;
}
