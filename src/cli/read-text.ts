/** Texts that the user names on the command line or pipes in. */

import { closeSync, constants, createReadStream, fstatSync, openSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { addAbortSignal, type Readable } from 'node:stream';
import { isatty, ReadStream } from 'node:tty';
import { fileError } from '../checkpoint/file.ts';
import { InputError, InterruptedError } from '../errors.ts';
import { interruption } from './interrupt.ts';
import { namedPipe } from './named-pipe.ts';

/** An upper bound for the bytes of a token: more bytes than this per wanted token need not be read. */
export const longestTokenBytes = 256;

/** A text that is read in parts, and the progress of reading. */
export interface TextFile {
  readonly file: string;
  /** Size of a regular file; null for pipes, devices and files in /proc, whose size is unknown. */
  readonly bytes: number | null;
  /** Bytes read so far. */
  bytesRead: number;
  /** Whether a read may wait for a writer. */
  readonly waits: boolean;
}

/** Examines `file` without opening it; `what` names its role in messages, such as `the prompt`. */
export async function findText(file: string, what: string): Promise<TextFile> {
  const found = await stat(file).catch((error: unknown) => {
    throw fileError(error, file, `reading ${what}`);
  });
  if (found.isDirectory()) throw new InputError('is a directory, not a file', { file });
  const bytes = found.isFile() && found.size > 0 ? found.size : null;
  return { file, bytes, bytesRead: 0, waits: found.isFIFO() || found.isCharacterDevice() };
}

/** The UTF-8 text of a file, exactly as it is, in parts. */
export async function* textParts(text: TextFile, what: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  for await (const part of byteParts(await openText(text, what), text.file, what)) {
    text.bytesRead += part.length;
    yield decoder.decode(part, { stream: true });
  }
  yield decoder.decode();
}

/** The beginning of a text, long enough for `tokens` tokens. */
export async function textBeginning(file: string, tokens: number): Promise<string> {
  const found = await findText(file, 'the text');
  let text = '';
  for await (const part of textParts(found, 'the text')) {
    text += part;
    if (text.length >= tokens * longestTokenBytes) break;
  }
  return text;
}

/**
 * The prompt in a file or a stream, in parts, taken verbatim.
 * @throws InputError when it is not UTF-8, or when there are more than `limit` bytes
 */
export async function* promptParts(
  source: TextFile | Readable,
  limit: number,
): AsyncGenerator<string> {
  const what = 'the prompt';
  const isFile = 'file' in source;
  const name = isFile ? source.file : 'stdin';
  const stream = isFile ? await openText(source, what) : source;
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });
  const decode = (part?: Uint8Array): string => {
    try {
      return part === undefined ? decoder.decode() : decoder.decode(part, { stream: true });
    } catch (cause) {
      throw new InputError(
        `${what} is not text in UTF-8`,
        { file: name },
        'Convert it, for example with iconv',
        { cause },
      );
    }
  };
  let bytes = 0;
  for await (const part of byteParts(stream, name, what)) {
    bytes += part.length;
    if (bytes > limit) {
      throw new InputError(`${what} is longer than ${limit} bytes, too long for the context`, {
        file: name,
      });
    }
    yield decode(part);
  }
  yield decode();
}

/** The bytes of a stream, in parts. @throws InterruptedError when the user wants to stop */
async function* byteParts(
  stream: Readable,
  name: string,
  what: string,
): AsyncGenerator<Uint8Array> {
  try {
    yield* addAbortSignal(interruption, stream) as AsyncIterable<Uint8Array>;
  } catch (error) {
    if (interruption.aborted) throw new InterruptedError();
    throw fileError(error, name, `reading ${what}`);
  } finally {
    stream.destroy();
  }
}

/**
 * Opens a text. Pipes and terminals are not read by a thread of Node's pool: a thread that waits for a
 * writer cannot be interrupted, and the process could not end before it.
 */
async function openText({ file, waits }: TextFile, what: string): Promise<Readable> {
  if (!waits) return createReadStream(file);
  let fd: number | undefined;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    if (isatty(fd)) return new ReadStream(fd);
    if (fstatSync(fd).isFIFO()) return await namedPipe(fd, file, interruption);
    return createReadStream(file, { fd });
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    if (interruption.aborted) throw new InterruptedError();
    throw fileError(error, file, `reading ${what}`);
  }
}
