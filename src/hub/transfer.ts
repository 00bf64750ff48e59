/**
 * Downloads files from the hub, several ranges at a time. Received bytes are always kept: after a broken
 * connection the download continues at the next byte, and so does the next run.
 */

import { IoError } from '../errors.ts';
import { forEachParallel } from '../parallel.ts';
import type { ByteRange, HubConnection } from './connection.ts';
import type { PartFile } from './part-file.ts';
import { TransientError } from './patience.ts';
import { type PartialAnswer, requestRange } from './range-request.ts';
import { contentPath, type Repository } from './repository.ts';

export interface TransferOptions {
  /** Simultaneous requests. */
  readonly connections: number;
  /** Called with the number of new bytes written. */
  readonly onBytes: (bytes: number) => void;
  /** Called with the number of bytes read for the check. */
  readonly onChecked: (bytes: number) => void;
}

/** Bytes of one request. */
const leastPiece = 2 ** 20;
const mostPiece = 64 * 2 ** 20;
/** After this many bytes, or half of the request, earlier failures no longer count. */
const progressBytes = 64 * 1024;

interface Job {
  readonly part: PartFile;
  /** Null for a file that has all its bytes but is not checked yet. */
  readonly range: ByteRange | null;
}

/**
 * Downloads the missing bytes of `parts`, checks each file when it is complete, and gives it its name.
 * @throws IoError when a file does not match the hub's digest, or the hub cannot be reached; the bytes
 * received until then are recorded
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
        // The other requests are no longer needed.
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
  /** Downloads the whole file in one answer, from a server that ignores ranges. */
  readonly #wholes = new Map<PartFile, Promise<void>>();

  constructor(connection: HubConnection, repository: Repository, options: TransferOptions) {
    this.#connection = connection;
    this.#repository = repository;
    this.#options = options;
  }

  /** Downloads the missing bytes of `range`. */
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

  /** Checks a file that has all its bytes; if a resumed one is wrong, it is downloaded again. */
  async finish(part: PartFile): Promise<void> {
    const { onChecked, connections } = this.#options;
    const { signal } = this.#connection;
    let wrong = await part.finish(signal, onChecked);
    if (wrong !== null && part.resumedBytes > 0) {
      // The bytes of an earlier run may have been damaged since, for instance by a power failure.
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
      `the downloaded file has the ${name} ${wrong}, but the hub lists ${digest}; it was discarded`,
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

  /** Writes an answer's bytes of `range`. @throws TransientError when the answer ends early */
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
        // A server that sends more than it announced might never stop.
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
