/** The lines of a file of any size, in bounded memory. */

import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { fileError } from '../checkpoint/file.ts';
import { InterruptedError } from '../errors.ts';

/** One line, without what ends it. */
export interface Line {
  /** Counted from 1 on, as editors do; blank lines count. */
  readonly number: number;
  /** Where it begins in the file, in bytes. */
  readonly offset: number;
  /** Its length in bytes, without the newline and a carriage return before it. */
  readonly length: number;
  /** Null where it is longer than what is kept. */
  readonly bytes: Uint8Array | null;
  /** SHA-256 of all its bytes, whether they are kept or not. */
  readonly digest: Uint8Array;
  /** False for a last line without a newline. */
  readonly ended: boolean;
}

/** What lines are read from. */
export interface LineFile {
  readonly path: string;
  readonly source: Pick<FileHandle, 'read'>;
  /** How much of it is read. */
  readonly bytes: number;
}

const pieceBytes = 64 * 1024;
const newline = 0x0a;
const carriageReturn = 0x0d;
const byteOrderMark = Buffer.from('\ufeff');

/**
 * The lines of a file in order. A byte order mark at the beginning is passed over. What is longer than
 * `longest` bytes is read, but not kept.
 * @throws what `fileError` makes of a failed read; InterruptedError
 */
export async function* linesOf(
  { path, source, bytes: end }: LineFile,
  { longest, signal }: { readonly longest: number; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Line, undefined> {
  let line = new LineBuilder(1, 0, longest);
  for (let at = 0; at < end; ) {
    if (signal?.aborted) throw new InterruptedError();
    const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, end - at));
    const { bytesRead } = await source.read(buffer, 0, buffer.length, at).catch((error) => {
      throw fileError(error, path, 'reading');
    });
    if (bytesRead === 0) break; // the file has become shorter
    const piece = buffer.subarray(0, bytesRead);
    let start = at === 0 && piece.subarray(0, 3).equals(byteOrderMark) ? 3 : 0;
    for (let stop = piece.indexOf(newline, start); stop !== -1; ) {
      line.add(piece.subarray(start, stop));
      yield line.finish(true);
      start = stop + 1;
      line = new LineBuilder(line.number + 1, at + start, longest);
      stop = piece.indexOf(newline, start);
    }
    line.add(piece.subarray(start));
    at += bytesRead;
  }
  if (!line.empty) yield line.finish(false);
}

class LineBuilder {
  readonly number: number;
  readonly #offset: number;
  readonly #longest: number;
  #hash = createHash('sha256');
  #length = 0;
  #parts: Uint8Array[] = [];
  /** A carriage return that may turn out to be the end of the line. */
  #held = false;

  constructor(number: number, offset: number, longest: number) {
    this.number = number;
    this.#offset = offset;
    this.#longest = longest;
  }

  get empty(): boolean {
    return this.#length === 0 && !this.#held;
  }

  add(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.#held) this.#append(Uint8Array.of(carriageReturn));
    this.#held = bytes.at(-1) === carriageReturn;
    this.#append(this.#held ? bytes.subarray(0, -1) : bytes);
  }

  #append(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#length += bytes.length;
    if (this.#length <= this.#longest) this.#parts.push(bytes);
    else this.#parts = [];
  }

  finish(ended: boolean): Line {
    const length = this.#length;
    return {
      number: this.number,
      offset: this.#offset,
      length,
      bytes: length <= this.#longest ? Buffer.concat(this.#parts, length) : null,
      digest: this.#hash.digest(),
      ended,
    };
  }
}

/** Whether a line holds nothing but spaces and tabs. */
export function isBlank({ bytes }: Line): boolean {
  return bytes?.every((byte) => byte === 0x20 || byte === 0x09) ?? false;
}
