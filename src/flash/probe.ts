/**
 * Measures reads of a file: throughput by chunk size and by reads in flight, and from these the profile that
 * the scheduler and the planner use.
 */

import { createBuffer } from '../pages.ts';
import type { DeviceFile } from './device-file.ts';
import type { DeviceProfile } from './device-profile.ts';
import { smallestRead } from './read-plan.ts';

/** One measured combination. */
export interface ProbeCell {
  /** Bytes of a read. */
  readonly chunk: number;
  /** Reads in flight. */
  readonly depth: number;
  readonly direct: boolean;
  readonly bytesPerSecond: number;
  readonly readsPerSecond: number;
  /** Mean time of one read, in milliseconds. */
  readonly latencyMs: number;
  /** Processor time of one read, in the system and in this process, in milliseconds. */
  readonly processorMs: number;
}

export interface CellRequest {
  readonly chunk: number;
  readonly depth: number;
  /** How long to measure. */
  readonly ms: number;
  /** The part of the file to read; default: all of it. */
  readonly from?: number;
  readonly bytes?: number;
}

const KIB = 1024;
export const probeChunks = [4, 16, 32, 64, 128, 1024, 4096].map((kib) => kib * KIB);
export const probeDepths = [1, 2, 4, 8, 16, 32];

/** All reads go to the same buffer: their contents are not used, and a probe must not take memory. */
const bufferBytes = 8 * 1024 * KIB;

/** Reads chunks of `file` for a while, in an order that read-ahead cannot guess. */
export async function measureCell(file: DeviceFile, request: CellRequest): Promise<ProbeCell> {
  const { chunk, depth, ms, from = 0, bytes = file.size } = request;
  const buffer = sharedBuffer();
  const places = Math.max(1, Math.floor(bytes / chunk));
  const stride = coprimeStride(places);
  let next = 0;
  let reads = 0;
  const started = performance.now();
  const processor = process.cpuUsage();
  const lane = (index: number) =>
    new Promise<void>((resolve, reject) => {
      const offset = (index * chunk) % (bufferBytes - chunk + 1);
      const aligned = offset - (offset % 4096);
      const targets = [buffer.subarray(aligned, aligned + chunk)];
      const readNext = () => {
        // A buffered pass ends when every chunk was read once: a second read would come from the cache.
        const more = performance.now() - started < ms && (file.direct || next < places);
        if (!more) return resolve();
        const place = (next++ * stride) % places;
        file.start(targets, from + place * chunk, (result) => {
          if (typeof result === 'object') return reject(result);
          reads++;
          readNext();
        });
      };
      readNext();
    });
  await Promise.all(Array.from({ length: depth }, (_, index) => lane(index)));
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(processor);
  return {
    chunk,
    depth,
    direct: file.direct,
    bytesPerSecond: (reads * chunk) / seconds,
    readsPerSecond: reads / seconds,
    latencyMs: (seconds * 1000 * depth) / Math.max(1, reads),
    processorMs: (user + system) / 1000 / Math.max(1, reads),
  };
}

/** Measures a profile in less than two seconds, with only the cells of the table that it needs. */
export async function quickProbe(file: DeviceFile): Promise<DeviceProfile> {
  const deepest = Math.max(...probeDepths);
  const cells: ProbeCell[] = [await measureCell(file, { chunk: 4 * KIB, depth: 1, ms: 100 })];
  for (const chunk of [32, 64, 128, 256, 1024].map((kib) => kib * KIB)) {
    cells.push(await measureCell(file, { chunk, depth: deepest, ms: 150 }));
  }
  for (const depth of probeDepths.filter((depth) => depth < deepest)) {
    cells.push(await measureCell(file, { chunk: 128 * KIB, depth, ms: 100 }));
  }
  return profileFrom(cells);
}

/** From this share of the best on, a result counts as the best: measurements are not more precise. */
const asGood = 0.93;
/** From this share of the best rate on, reads are large enough to be split, so that more are in flight. */
const goodEnough = 0.75;
const largestGap = 256 * KIB;

/**
 * The profile computed from measured cells. The model of a read is a fixed time plus the time of its bytes:
 *
 *     time(chunk) = fixed + chunk / bandwidth, all lanes busy
 *
 * so a gap is worth reading while its bytes take less than the fixed part.
 */
export function profileFrom(cells: readonly ProbeCell[]): DeviceProfile {
  const deepest = Math.max(...cells.map(({ depth }) => depth));
  const deep = cells
    .filter(({ depth, chunk }) => depth === deepest && chunk >= smallestRead)
    .sort((a, b) => a.chunk - b.chunk);
  const bandwidth = Math.max(...deep.map((cell) => cell.bytesPerSecond));
  const firstReaching = (share: number) =>
    deep.find((cell) => cell.bytesPerSecond >= share * bandwidth)?.chunk ?? smallestRead;
  const [smallest] = deep;
  const fixedBytes =
    smallest === undefined ? 0 : smallest.chunk * (bandwidth / smallest.bytesPerSecond - 1);

  const byDepth = cells
    .filter(({ chunk }) => chunk === 128 * KIB)
    .sort((a, b) => a.depth - b.depth);
  const bestAtDepth = Math.max(...byDepth.map((cell) => cell.bytesPerSecond));
  const depth = byDepth.find((cell) => cell.bytesPerSecond >= asGood * bestAtDepth)?.depth;
  const lone = cells.find((cell) => cell.depth === 1);
  return {
    // Measured with the smallest reads, whose bytes cost least.
    processorMs: smallest?.processorMs ?? 0,
    latencyMs: lone?.latencyMs ?? 0,
    bandwidth: Math.round(bandwidth),
    breakEvenGap: Math.min(largestGap, Math.max(0, Math.round(fixedBytes / 512) * 512)),
    smallestPiece: firstReaching(goodEnough),
    largestRead: Math.max(firstReaching(asGood), 1024 * KIB),
    // At least 8: one read more costs little, an idle device costs much.
    depth: Math.max(8, depth ?? deepest),
    direct: cells.every(({ direct }) => direct),
    source: 'measured',
  };
}

let buffer: Uint8Array | undefined;

function sharedBuffer(): Uint8Array {
  buffer ??= new Uint8Array(createBuffer(bufferBytes).buffer);
  return buffer;
}

/** A step size through `places` that visits each once, far from the one before. */
function coprimeStride(places: number): number {
  let stride = Math.max(1, Math.floor(places * 0.618));
  while (greatestCommonDivisor(stride, places) !== 1) stride++;
  return stride;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
