/**
 * Files from the hub to this machine, several ranges at a time. What has come is kept whatever happens:
 * a connection that breaks goes on at the next byte, and so does the next run.
 */

import { IoError } from '../errors.ts';
import { forEachParallel } from '../parallel.ts';
import type { ByteRange, HubConnection } from './connection.ts';
import type { PartFile } from './part-file.ts';
import { TransientError } from './patience.ts';
import { type PartialAnswer, requestRange } from './range-request.ts';
import { contentPath, type Repository } from './repository.ts';

export interface TransferOptions {
  /** At a time. */
  readonly connections: number;
  /** New bytes that were written. */
  readonly onBytes: (bytes: number) => void;
  /** Bytes that were read again to be checked. */
  readonly onChecked: (bytes: number) => void;
}

/** Bytes that one request asks for. */
const leastPiece = 2 ** 20;
const mostPiece = 64 * 2 ** 20;
/** As much as this, or half of what is asked for, and failures before it do not count. */
const progressBytes = 64 * 1024;

interface Job {
  readonly part: PartFile;
  /** Null for a file that has all its bytes and is yet to be checked. */
  readonly range: ByteRange | null;
}

/**
 * Downloads what `parts` lack, checks each file when it is whole, and gives it its name.
 * @throws IoError when a file is not the one that the hub lists, or the hub cannot be reached; what has
 * come until then is recorded
 */
export async function transfer(
  connection: HubConnection,
  repository: Repository,
  parts: readonly PartFile[],
  options: TransferOptions,
): Promise<void> {
  const jobs = parts.filter(({ done }) => !done).flatMap((part) => jobsOf(part, options));
  const left = new Map<PartFile, number>();
  for (const { part } of jobs) left.set(part, (left.get(part) ?? 0) + 1);
  const download = new Download(connection, repository, options);
  let failure: { readonly error: unknown } | null = null;
  try {
    await forEachParallel(jobs, options.connections, async ({ part, range }) => {
      try {
        if (range !== null) await download.fetch(part, range);
        const others = (left.get(part) ?? 1) - 1;
        left.set(part, others);
        if (others === 0) await download.finish(part);
      } catch (error) {
        failure ??= { error };
        // Nobody waits for what is of no use any more.
        connection.stop();
        throw error;
      }
    });
  } catch (error) {
    throw (failure as { readonly error: unknown } | null)?.error ?? error;
  }
}

function jobsOf(part: PartFile, { connections }: Pick<TransferOptions, 'connections'>): Job[] {
  const { bytes } = part.file;
  const most = Math.min(mostPiece, Math.max(leastPiece, Math.ceil(bytes / (2 * connections))));
  const jobs: Job[] = [];
  for (const { from, to } of part.got.missing(0, bytes)) {
    for (let at = from; at < to; at += most) {
      jobs.push({ part, range: { from: at, to: Math.min(at + most, to) } });
    }
  }
  return jobs.length === 0 ? [{ part, range: null }] : jobs;
}

class Download {
  readonly #connection: HubConnection;
  readonly #repository: Repository;
  readonly #options: TransferOptions;
  /** Of servers that ignore ranges, the one answer that brings the whole file. */
  readonly #wholes = new Map<PartFile, Promise<void>>();

  constructor(connection: HubConnection, repository: Repository, options: TransferOptions) {
    this.#connection = connection;
    this.#repository = repository;
    this.#options = options;
  }

  /** Brings the bytes of `range` that are not there. */
  async fetch(part: PartFile, range: ByteRange): Promise<void> {
    const patience = this.#connection.patience(this.#nameOf(part));
    for (;;) {
      const [hole] = part.got.missing(range.from, range.to);
      if (hole === undefined) return;
      const before = part.got.bytes;
      try {
        await (this.#wholes.get(part) ?? this.#request(part, hole));
      } catch (error) {
        const came = part.got.bytes - before;
        if (came >= Math.min(progressBytes, (hole.to - hole.from) / 2)) patience.reset();
        await patience.after(error);
      }
    }
  }

  /** Checks a file of which all bytes are there; one that was resumed is downloaded anew if it is wrong. */
  async finish(part: PartFile): Promise<void> {
    const { onChecked, connections } = this.#options;
    const { signal } = this.#connection;
    let wrong = await part.finish(signal, onChecked);
    if (wrong !== null && part.resumedBytes > 0) {
      // What an earlier run left may have been damaged since, as when the power failed.
      const jobs = jobsOf(part, this.#options);
      await forEachParallel(jobs, connections, async ({ range }) => {
        if (range !== null) await this.fetch(part, range);
      });
      wrong = await part.finish(signal, onChecked);
    }
    if (wrong === null) return;
    const { kind, digest } = part.file.hash;
    const name = kind === 'git' ? 'git hash' : 'SHA-256';
    throw new IoError(
      `what was sent has the ${name} ${wrong}; the hub lists ${digest}; it was discarded`,
      { file: this.#nameOf(part) },
      'Try again later, or check HF_ENDPOINT, and proxies and firewalls between this machine and the hub',
    );
  }

  async #request(part: PartFile, range: ByteRange): Promise<void> {
    const { bytes } = part.file;
    const path = contentPath(this.#repository, part.file);
    const answer = await requestRange(this.#connection, path, bytes, range);
    const whole = { from: 0, to: bytes };
    if (answer.status === 206 || (range.from === 0 && range.to === bytes)) {
      return this.#copy(part, answer, range);
    }
    const running = this.#wholes.get(part);
    if (running !== undefined) {
      answer.drop();
      return running;
    }
    const copying = this.#copy(part, answer, whole).finally(() => this.#wholes.delete(part));
    this.#wholes.set(part, copying);
    return copying;
  }

  /** Writes an answer's bytes of `range`. @throws TransientError when it ends before */
  async #copy(part: PartFile, answer: PartialAnswer, range: ByteRange): Promise<void> {
    let at = answer.start;
    try {
      for await (const piece of answer.body) {
        const from = Math.max(at, range.from);
        const to = Math.min(at + piece.length, range.to);
        if (from < to) {
          this.#options.onBytes(await part.write(piece.subarray(from - at, to - at), from));
        }
        at += piece.length;
        // More than was promised has no end.
        if (at > range.to) break;
      }
    } finally {
      await part.record();
    }
    if (at < range.to) throw new TransientError(`the answer ends after byte ${at} of ${range.to}`);
  }

  #nameOf({ file }: PartFile): string {
    return `${this.#repository.id}/${file.path}`;
  }
}
