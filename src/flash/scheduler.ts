/**
 * The I/O scheduler: takes sets of extents, plans their reads, and keeps up to `depth` of them in flight in
 * libuv's pool, which works through them while the kernels compute. Demand reads overtake prefetches. Queued
 * reads can be dropped; reads in flight must end before their memory may be reused.
 */

import { InterruptedError, IoError } from '../errors.ts';
import { createBuffer } from '../pages.ts';
import { alignUp } from '../units.ts';
import { type DeviceProfile, lanesFor, readLimits } from './device-profile.ts';
import { IoStats } from './io-stats.ts';
import {
  type Extent,
  type Offer,
  type PlannedRead,
  planReads,
  type ReadPart,
} from './read-plan.ts';

export type Priority = 'demand' | 'prefetch';

export interface RequestOptions {
  readonly priority?: Priority;
  /**
   * Whether the event loop will hardly run during the reads: then more reads than the device needs are queued
   * in libuv's pool, which works through them by itself.
   */
  readonly eager?: boolean;
  /** Proposes destinations for unwanted bytes of reads. */
  readonly offer?: Offer;
}

/** A submitted request. */
export interface Ticket {
  /** Resolves when everything has arrived; rejects with the first error. */
  readonly done: Promise<void>;
  /** Moves reads that are still queued ahead of all prefetches. */
  promote(): void;
  /**
   * Cancels the request. Resolves when none of its reads is in flight, so that its memory may be reused;
   * `done` rejects unless all reads had completed.
   */
  cancel(): Promise<void>;
}

interface Request {
  left: number;
  inFlight: number;
  error: unknown;
  readonly settle: (error: unknown) => void;
  /** Called when no read of a cancelled request is in flight any more. */
  readonly idle: (() => void)[];
}

interface QueuedRead {
  readonly read: PlannedRead;
  readonly request: Request;
}

/** Retries, in a row, of a single read after an error that may be transient. */
const retriesWithoutProgress = 4;
const transient = new Set(['EINTR', 'EAGAIN', 'EIO']);
/** The most eager reads in libuv's pool, running or queued there. */
const mostEager = 128;
/** Unwanted bytes of all reads go to this buffer. */
const sinkBytes = 64 * 1024;

export class Scheduler {
  readonly stats = new IoStats();
  /** The profile by which reads are planned; may be replaced at any time. */
  profile: DeviceProfile;
  readonly #queues: Record<Priority, QueuedRead[]> = { demand: [], prefetch: [] };
  readonly #sink = new Uint8Array(createBuffer(sinkBytes).buffer);
  #inFlight = 0;

  constructor(profile: DeviceProfile) {
    this.profile = profile;
  }

  /** Plans and submits the reads of `extents`; the targets belong to the reads until they end. */
  submit(extents: readonly Extent[], options: RequestOptions = {}): Ticket {
    const { priority = 'demand', offer, eager = false } = options;
    const reads = planReads(
      extents,
      { ...readLimits(this.profile), lanes: this.#lanes(extents, priority) },
      offer,
    );
    const { promise, resolve, reject } = withResolvers();
    promise.catch(() => {}); // the awaiting code sees the error
    const request: Request = {
      left: reads.length,
      inFlight: 0,
      error: null,
      settle: (error) => (error === null ? resolve() : reject(error)),
      idle: [],
    };
    if (reads.length === 0) resolve();
    const queued = reads.map((read) => ({ read, request }));
    if (eager) {
      const room = Math.max(0, mostEager - this.#inFlight);
      for (const next of queued.splice(0, room)) this.#start(next);
    }
    this.#queues[priority].push(...queued);
    this.#pump();
    return {
      done: promise,
      promote: () => this.#promote(request),
      cancel: () => this.#cancel(request),
    };
  }

  /** Only demand reads are split for speed; further prefetches keep the queue full anyway. */
  #lanes(extents: readonly Extent[], priority: Priority): number {
    if (priority === 'prefetch') return 1;
    const free = this.profile.depth - this.#inFlight - this.#queues.demand.length;
    const bytes = extents.reduce((sum, { target }) => sum + target.length, 0);
    return Math.max(1, Math.min(free, lanesFor(bytes, this.profile)));
  }

  #pump(): void {
    const { demand, prefetch } = this.#queues;
    while (this.#inFlight < this.profile.depth) {
      const next = demand.shift() ?? prefetch.shift();
      if (next === undefined) return;
      this.#start(next);
    }
  }

  #start({ read, request }: QueuedRead): void {
    this.#inFlight++;
    request.inFlight++;
    this.#run(read).then(
      () => this.#finish(request, null),
      (error: unknown) => this.#finish(request, error),
    );
  }

  #finish(request: Request, error: unknown): void {
    this.#inFlight--;
    request.inFlight--;
    request.left--;
    if (error !== null && request.error === null) {
      request.error = error;
      this.#dropQueued(request);
    }
    // The request ends with its last read, so that after an error, too, no read still writes to its memory.
    if (request.left === 0) request.settle(request.error);
    if (request.inFlight === 0) for (const resolve of request.idle.splice(0)) resolve();
    this.#pump();
  }

  #promote(request: Request): void {
    const { demand, prefetch } = this.#queues;
    for (let at = 0; at < prefetch.length; at++) {
      const queued = prefetch[at];
      if (queued?.request !== request) continue;
      demand.push(queued);
      prefetch.splice(at--, 1);
    }
    this.#pump();
  }

  async #cancel(request: Request): Promise<void> {
    if (request.left === 0) return;
    request.error ??= new InterruptedError('the read was given up');
    this.#dropQueued(request);
    if (request.left === 0) request.settle(request.error);
    if (request.inFlight > 0) {
      await new Promise<void>((resolve) => {
        request.idle.push(resolve);
      });
    }
  }

  #dropQueued(request: Request): void {
    for (const priority of ['demand', 'prefetch'] as const) {
      const queue = this.#queues[priority];
      const kept = queue.filter((queued) => queued.request !== request);
      request.left -= queue.length - kept.length;
      queue.splice(0, queue.length, ...kept);
    }
  }

  async #run(read: PlannedRead): Promise<void> {
    const { alignment } = read.file;
    const aligned = read.parts.every(
      ({ bytes, target }) =>
        bytes % alignment === 0 && (target === null || target.byteOffset % alignment === 0),
    );
    if (aligned) return this.#readFully(read, read.parts);
    // The parts are not aligned as the device requires: read through a buffer of whole sectors.
    const staging = new Uint8Array(
      createBuffer(alignUp(read.bytes, alignment)).buffer,
      0,
      read.bytes,
    );
    const wanted = wantedBytes(read.parts);
    await this.#readFully(read, [{ bytes: read.bytes, target: staging }], wanted);
    let at = 0;
    for (const { bytes, target } of read.parts) {
      target?.set(staging.subarray(at, at + bytes));
      at += bytes;
    }
  }

  /**
   * Reads until all wanted parts are filled.
   * @param wanted bytes that must arrive; bytes after them may be beyond the file's end
   */
  async #readFully(
    { file, position }: PlannedRead,
    parts: readonly ReadPart[],
    wanted = wantedBytes(parts),
  ): Promise<void> {
    let done = 0;
    let failures = 0;
    while (done < wanted) {
      const targets = this.#targetsFrom(parts, done);
      const bytes = targets.reduce((sum, target) => sum + target.length, 0);
      const flight = this.stats.begin(bytes);
      const result = await file.readv(targets, position + done);
      this.stats.end(flight);
      const place = { file: file.path, offset: position + done };
      let cause: NodeJS.ErrnoException | undefined;
      if (typeof result === 'object') {
        cause = result;
        failures = transient.has(result.code ?? '') ? failures + 1 : retriesWithoutProgress + 1;
      } else if (result === 0) {
        throw new IoError(
          `the file ends here although it had ${file.size} bytes when it was opened`,
          place,
          'Something truncated it; convert the checkpoint again',
        );
      } else {
        // A direct read can only continue at a sector boundary; the bytes after the boundary are read again.
        const progress = done + result >= wanted ? result : result - (result % file.alignment);
        done += progress;
        failures = progress > 0 ? 0 : failures + 1;
      }
      if (failures > retriesWithoutProgress) {
        throw new IoError(
          `reading failed: ${cause?.message ?? 'no progress'}`,
          place,
          'Check the disk',
          { cause },
        );
      }
    }
  }

  /** The destinations of the bytes from `done` on. */
  #targetsFrom(parts: readonly ReadPart[], done: number): Uint8Array[] {
    const targets: Uint8Array[] = [];
    let at = 0;
    for (const { bytes, target } of parts) {
      const skip = Math.max(0, done - at);
      at += bytes;
      if (skip >= bytes) continue;
      if (target !== null) {
        targets.push(skip === 0 ? target : target.subarray(skip));
        continue;
      }
      for (let left = bytes - skip; left > 0; left -= sinkBytes) {
        targets.push(this.#sink.subarray(0, Math.min(left, sinkBytes)));
      }
    }
    return targets;
  }
}

/** Bytes up to the end of the last wanted part. */
function wantedBytes(parts: readonly ReadPart[]): number {
  let end = 0;
  let wanted = 0;
  for (const { bytes, target } of parts) {
    end += bytes;
    if (target !== null) wanted = end;
  }
  return wanted;
}

function withResolvers() {
  let resolve: () => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
