/**
 * Computes the reads for wanted extents: a pure function, so that its properties can be tested.
 *
 *     wanted      [##]  [###]            [#]                  [##########################]
 *     read        [##dd###]              [#ddd]               [#######][########][#######]
 *                 gap bridged            raised to 32 KiB     split, to keep the queue full
 *
 * One read may scatter into many places; `d` is dropped, unless the caller offers a place for it.
 */

import { InputError } from '../errors.ts';
import { alignDown, alignUp } from '../units.ts';
import type { DeviceFile } from './device-file.ts';

/** A range of a file and the destination of its bytes. */
export interface Extent {
  readonly file: DeviceFile;
  /** Byte offset in the file. */
  readonly position: number;
  /** As long as the range. */
  readonly target: Uint8Array;
}

/** A stretch of one read; bytes without a target are dropped. */
export interface ReadPart {
  readonly bytes: number;
  readonly target: Uint8Array | null;
}

export interface PlannedRead {
  readonly file: DeviceFile;
  readonly position: number;
  readonly bytes: number;
  /** In the order of the file; `bytes` in total. */
  readonly parts: readonly ReadPart[];
}

/** The properties of the device that planning needs. */
export interface ReadLimits {
  /** Reading this many unwanted bytes is cheaper than a second read. */
  readonly breakEvenGap: number;
  /** Reads of this size reach the device's full rate; none is larger. */
  readonly largestRead: number;
  /** Smaller pieces would cost more than having several in flight gains. */
  readonly smallestPiece: number;
  /** Lanes that a long run is split over. */
  readonly lanes: number;
}

/** The smallest read from flash. */
export const smallestRead = 32 * 1024;
/** POSIX allows 1024 places for one read. */
const mostParts = 1000;

/**
 * Proposes destinations for unwanted bytes of a read: extents within [position, position + bytes) of `file`,
 * in order and not overlapping.
 */
export type Offer = (file: DeviceFile, position: number, bytes: number) => readonly Extent[];

/**
 * Plans the reads for `extents`, which may come in any order.
 * @throws InputError when an extent lies outside its file
 */
export function planReads(
  extents: readonly Extent[],
  limits: ReadLimits,
  offer?: Offer,
): PlannedRead[] {
  const sorted = extents
    .filter(({ target }) => target.length > 0)
    .sort((a, b) => compareFiles(a.file, b.file) || a.position - b.position);
  for (const extent of sorted) checkInside(extent);
  const wanted = sorted.reduce((sum, { target }) => sum + target.length, 0);
  const runs = mergeRuns(sorted, limits, wanted < smallestRead, offer);
  const step = splitSize(runs, limits);
  return runs.flatMap((run) => splitRun(run, step));
}

function compareFiles(a: DeviceFile, b: DeviceFile): number {
  return a === b ? 0 : a.path < b.path ? -1 : 1;
}

function checkInside({ file, position, target }: Extent): void {
  if (position < 0 || position + target.length > file.size) {
    throw new InputError(
      `a read of ${target.length} bytes from here goes beyond the file's end at ${file.size}`,
      { file: file.path, offset: position },
      'The model is damaged or was truncated; convert the checkpoint again',
    );
  }
}

/** A run is a read before it is split. */
interface Run {
  readonly file: DeviceFile;
  readonly position: number;
  readonly parts: ReadPart[];
  /** Offset after the last part. */
  end: number;
}

function mergeRuns(
  sorted: readonly Extent[],
  limits: ReadLimits,
  fewBytes: boolean,
  offer: Offer | undefined,
): Run[] {
  const runs: Run[] = [];
  let run: Run | undefined;
  const finish = () => {
    if (run === undefined) return;
    if (!fewBytes) raise(run, offer);
    align(run);
    runs.push(run);
    run = undefined;
  };
  for (const extent of sorted) {
    const { file, position, target } = extent;
    if (run !== undefined && !belongsTo(run, extent, limits, fewBytes)) finish();
    if (run === undefined) {
      run = startRun(file, position);
    } else {
      bringAlong(run, position, offer);
    }
    run.parts.push({ bytes: target.length, target });
    run.end = position + target.length;
  }
  finish();
  return runs;
}

/** A run begins at an offset that the device's alignment allows. */
function startRun(file: DeviceFile, position: number): Run {
  const start = alignDown(position, file.alignment);
  const skipped = position - start;
  const parts = skipped > 0 ? [{ bytes: skipped, target: null }] : [];
  return { file, position: start, parts, end: position };
}

/** Whether continuing the read to `extent` is cheaper than a separate read. */
function belongsTo(run: Run, extent: Extent, limits: ReadLimits, fewBytes: boolean): boolean {
  if (run.file !== extent.file || extent.position < run.end) return false; // overlaps: apart
  const gap = extent.position - run.end;
  // Within the smallest read, these bytes are read anyway.
  const comesAnyway = !fewBytes && extent.position - run.position < smallestRead;
  return gap <= limits.breakEvenGap || comesAnyway;
}

/** Extends a run to `end`, with offered destinations where there are any. */
function bringAlong(run: Run, end: number, offer: Offer | undefined): void {
  if (end > run.end && offer !== undefined) {
    for (const { position, target } of offer(run.file, run.end, end - run.end)) {
      drop(run, position);
      run.parts.push({ bytes: target.length, target });
      run.end = position + target.length;
    }
  }
  drop(run, end);
}

function drop(run: Run, end: number): void {
  if (end > run.end) run.parts.push({ bytes: end - run.end, target: null });
  run.end = end;
}

/** Extends a short run to the smallest read, forwards, or backwards at the file's end. */
function raise(run: Run, offer: Offer | undefined): void {
  const end = Math.min(run.file.size, run.position + smallestRead);
  if (end > run.end) bringAlong(run, end, offer);
  const missing = smallestRead - (run.end - run.position);
  if (missing <= 0) return;
  const start = Math.max(0, alignDown(run.position - missing, run.file.alignment));
  if (start === run.position) return;
  run.parts.unshift({ bytes: run.position - start, target: null });
  (run as { position: number }).position = start;
}

/**
 * A run ends at an offset that the device's alignment allows; the unaligned tail of a file is a short read.
 */
function align(run: Run): void {
  drop(run, alignUp(run.end, run.file.alignment));
}

/** Pieces small enough that all lanes have work, and large enough to be read at full rate. */
function splitSize(runs: readonly Run[], limits: ReadLimits): number {
  const total = runs.reduce((sum, run) => sum + run.end - run.position, 0);
  const even = alignUp(Math.ceil(total / limits.lanes), smallestRead);
  const smallest = Math.max(smallestRead, alignDown(limits.smallestPiece, smallestRead));
  return Math.max(smallest, Math.min(even, alignDown(limits.largestRead, smallestRead)));
}

function splitRun({ file, position, parts, end }: Run, step: number): PlannedRead[] {
  const bytes = end - position;
  // A remainder below the smallest read is added to the piece before it.
  const whole = Math.floor(bytes / step);
  const pieces = Math.max(1, bytes % step < smallestRead ? whole : whole + 1);
  const reads: PlannedRead[] = [];
  const queue = [...parts];
  let at = position;
  for (let piece = 0; piece < pieces; piece++) {
    const wantedEnd = piece === pieces - 1 ? end : at + step;
    const taken = takeParts(queue, wantedEnd - at);
    for (const group of groups(taken)) {
      const length = group.reduce((sum, part) => sum + part.bytes, 0);
      reads.push({ file, position: at, bytes: length, parts: group });
      at += length;
    }
  }
  return reads;
}

/** Removes the first `bytes` bytes from a list of parts and returns them. */
function takeParts(queue: ReadPart[], bytes: number): ReadPart[] {
  const taken: ReadPart[] = [];
  let left = bytes;
  while (left > 0) {
    const part = queue.shift();
    if (part === undefined) break;
    if (part.bytes <= left) {
      taken.push(part);
      left -= part.bytes;
      continue;
    }
    taken.push({ bytes: left, target: part.target?.subarray(0, left) ?? null });
    queue.unshift({ bytes: part.bytes - left, target: part.target?.subarray(left) ?? null });
    left = 0;
  }
  return taken;
}

/** No read may have more parts than the system allows. */
function groups(parts: readonly ReadPart[]): (readonly ReadPart[])[] {
  if (parts.length <= mostParts) return [parts];
  return Array.from({ length: Math.ceil(parts.length / mostParts) }, (_, index) =>
    parts.slice(index * mostParts, (index + 1) * mostParts),
  );
}
