/** Texts that the user names on the command line, or pipes in. */

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { addAbortSignal, type Readable } from 'node:stream';
import { fileError } from '../checkpoint/file.ts';
import { InputError, InterruptedError } from '../errors.ts';
import { interruption } from './interrupt.ts';

/** Bytes of the text in `file`; `what` is what the user takes it for. */
export async function textBytes(file: string, what: string): Promise<number> {
  try {
    const found = await stat(file);
    if (found.isDirectory()) throw new InputError('is a directory, not a file', { file });
    return found.size;
  } catch (error) {
    throw error instanceof InputError ? error : fileError(error, file, `reading ${what}`);
  }
}

/** The UTF-8 text in `file`, exactly as it is, in parts. */
export async function* textParts(file: string, what: string): AsyncGenerator<string> {
  try {
    yield* createReadStream(file, { encoding: 'utf8' }) as AsyncIterable<string>;
  } catch (error) {
    throw fileError(error, file, `reading ${what}`);
  }
}

/** The whole text in `file`, refused beyond `limit` bytes. */
export async function readText(file: string, what: string, limit: number): Promise<string> {
  const bytes = await textBytes(file, what);
  if (bytes > limit) throw tooLong(what, limit, file);
  let text = '';
  for await (const part of textParts(file, what)) text += part;
  return text;
}

/** All that is piped in, refused beyond `limit` bytes. */
export async function readStream(stream: Readable, what: string, limit: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of addAbortSignal(interruption, stream)) {
      parts.push(part as Buffer);
      bytes += (part as Buffer).length;
      if (bytes > limit) throw tooLong(what, limit);
    }
  } catch (error) {
    if (interruption.aborted) throw new InterruptedError();
    throw error instanceof InputError ? error : fileError(error, 'stdin', `reading ${what}`);
  }
  return Buffer.concat(parts).toString('utf8');
}

function tooLong(what: string, limit: number, file?: string): InputError {
  const place = file === undefined ? {} : { file };
  return new InputError(`${what} is longer than ${limit} bytes, too long for the context`, place);
}
