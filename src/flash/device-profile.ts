/**
 * The read performance of a device, as measured by `probe`. Profiles are stored per device in the user's
 * cache directory, so that each device is measured once.
 */

import { mkdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import { writeAside } from '../aside.ts';
import { parseJson } from '../checkpoint/json-file.ts';
import { readRegular } from '../regular-file.ts';
import { alignDown } from '../units.ts';
import type { ReadLimits } from './read-plan.ts';

export interface DeviceProfile extends Omit<ReadLimits, 'lanes'> {
  /** Reads to keep in flight or queued in libuv's pool. */
  readonly depth: number;
  /** Processor time of a read in the system and in Node, in milliseconds. */
  readonly processorMs: number;
  /** Time of a small read with no other in flight, in milliseconds. */
  readonly latencyMs: number;
  /** Bytes per second of large reads, many in flight. */
  readonly bandwidth: number;
  /** Whether the device was read past the page cache. */
  readonly direct: boolean;
  /** The source of the figures. */
  readonly source: 'measured' | 'default';
}

/** An ordinary SSD: accurate enough everywhere until the device has been measured. */
export const defaultProfile: DeviceProfile = {
  processorMs: 0.045,
  latencyMs: 0.2,
  bandwidth: 1e9,
  breakEvenGap: 16 * 1024,
  smallestPiece: 128 * 1024,
  largestRead: 1024 * 1024,
  depth: 32,
  direct: true,
  source: 'default',
};

/** For profiles measured before this figure existed. */
const usualProcessorMs = 0.045;

/** Valid bytes of a read: from the smallest efficient one to more than any device needs. */
const readBytes = v.pipe(
  v.number(),
  v.safeInteger(),
  v.minValue(32 * 1024),
  v.maxValue(64 * 1024 * 1024),
);
const profileSchema = v.object({
  processorMs: v.optional(v.pipe(v.number(), v.finite(), v.minValue(0)), usualProcessorMs),
  latencyMs: v.pipe(v.number(), v.finite(), v.minValue(0)),
  bandwidth: v.pipe(v.number(), v.finite(), v.minValue(1)),
  breakEvenGap: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(64 * 1024 * 1024)),
  smallestPiece: readBytes,
  largestRead: readBytes,
  depth: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(32)),
  direct: v.boolean(),
  source: v.literal('measured'),
});
const cacheSchema = v.record(v.string(), profileSchema);

/** No gap larger than this is read over only to save processor time. */
const largestProcessorGap = 48 * 1024;

/**
 * The limits by which reads are planned: a gap is worth reading over while its bytes take less time than
 * another read. Another read costs the device its fixed time, or the processor, which computes meanwhile, its
 * processor time. The measured fixed time includes the processor's: many small reads wait for it.
 */
export function readLimits(
  profile: Omit<ReadLimits, 'lanes'> & Pick<DeviceProfile, 'bandwidth' | 'processorMs'>,
): Omit<ReadLimits, 'lanes'> {
  const { bandwidth, processorMs, breakEvenGap, smallestPiece, largestRead } = profile;
  const bytes = alignDown(Math.round((bandwidth * processorMs) / 1000), 512);
  const gap = Math.max(breakEvenGap - bytes, Math.min(largestProcessorGap, bytes));
  return { breakEvenGap: gap, smallestPiece, largestRead };
}

/** Reading at the device's full rate may take at most this fraction of a core: one part in `readsPerCore`. */
const readsPerCore = 8;
/** The number of lanes that keeps a device busy, however few bytes there are to read. */
const fewestLanes = 4;

/**
 * The number of lanes that `bytes` should be split over: in pieces of 96 KiB that take 45 us each, reading 2
 * GB/s takes a whole core, and kernels need all cores.
 */
export function lanesFor(
  bytes: number,
  { bandwidth, processorMs }: Pick<DeviceProfile, 'bandwidth' | 'processorMs'>,
): number {
  const piece = (readsPerCore * bandwidth * processorMs) / 1000;
  return Math.max(fewestLanes, piece === 0 ? Number.POSITIVE_INFINITY : Math.ceil(bytes / piece));
}

/** The profile of the device that holds `path`, or the default one. */
export async function loadProfile(path: string): Promise<DeviceProfile> {
  const profiles = await readCache();
  return queuedDeeply(profiles[await deviceKey(path)] ?? defaultProfile);
}

/**
 * While kernels compute, the event loop does not run, and libuv's pool works through the reads that are
 * queued: with 4 MB queued instead of 16, a stream was 6% slower. How many the device has at once is limited
 * by the threads of the pool.
 */
const fewestQueued = 32;

/** A measured profile with as many reads in the queue as a run needs. */
export function queuedDeeply(profile: DeviceProfile): DeviceProfile {
  return { ...profile, depth: Math.max(profile.depth, fewestQueued) };
}

/** Stores a measured profile; ignores a cache that cannot be written. */
export async function saveProfile(path: string, profile: DeviceProfile): Promise<boolean> {
  const file = cacheFile();
  try {
    const profiles = { ...(await readCache()), [await deviceKey(path)]: profile };
    await mkdir(dirname(file), { recursive: true });
    await writeAside(file, (out) => out.writeFile(`${JSON.stringify(profiles, null, 1)}\n`));
    return true;
  } catch {
    return false;
  }
}

/** The file of profiles. */
export function cacheFile(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA, FLASHLLM_CACHE } = process.env;
  const mac = process.platform === 'darwin' ? join(homedir(), 'Library', 'Caches') : undefined;
  const base = XDG_CACHE_HOME || LOCALAPPDATA || mac || join(homedir(), '.cache');
  return join(FLASHLLM_CACHE || join(base, 'flashllm'), 'devices.json');
}

async function deviceKey(path: string): Promise<string> {
  const { dev } = await stat(path);
  return `${process.platform}-${dev}`;
}

/** Profiles take a few hundred bytes for each device. */
const longestCache = 1024 * 1024;

/** Damaged or older entries count as missing. */
async function readCache(): Promise<Record<string, DeviceProfile>> {
  try {
    const file = cacheFile();
    const parsed = v.safeParse(cacheSchema, parseJson(await readRegular(file, longestCache), file));
    return parsed.success ? parsed.output : {};
  } catch {
    return {};
  }
}
