/**
 * The memory available to this process. Pages that only cache a file can be dropped when a process needs
 * room, so they count as free; for any other memory in use, the system would have to swap or to kill a
 * process.
 */

import { totalmem } from 'node:os';
import { mappableBytes } from '../address-space.ts';
import { type ControlGroup, controlGroups, readText } from '../control-groups.ts';
import { freeMemory } from './free-memory.ts';
import { residentBytes } from './process.ts';

/** Memory that can be used without swapping, in bytes, and the source of the figure. */
export interface AvailableMemory {
  /** Includes the memory that this process uses already. */
  readonly bytes: number;
  readonly source: 'machine' | 'cgroup' | 'limit';
}

/**
 * The memory that the machine, the control groups around this process and its own limits allow now.
 * @param root directory that contains /proc and /sys; another one in tests
 */
export function availableMemory(root = ''): AvailableMemory {
  const status = readText(`${root}/proc/self/status`) ?? '';
  const own = ownBytes(status);
  const left = (groups: readonly ControlGroup[]) => groups.flatMap((group) => leftIn(group, own));
  const mappable = mappableBytes(root);
  const all: readonly AvailableMemory[] = [
    { bytes: freeOnMachine(root, own), source: 'machine' },
    ...left(controlGroups('memory', root)).map((bytes) => ({ bytes, source: 'cgroup' as const })),
    ...(mappable === null ? [] : [{ bytes: mappable + own, source: 'limit' as const }]),
  ];
  const { bytes, source } = all.reduce((least, next) => (next.bytes < least.bytes ? next : least));
  return { bytes: Math.max(0, bytes), source };
}

/** Nine tenths of the memory that is available. */
export function defaultBudget(): AvailableMemory {
  const { bytes, source } = availableMemory();
  return { bytes: Math.floor(bytes * 0.9), source };
}

/** Bytes of this process's private memory: pages of files, including Node's own code, are cache. */
function ownBytes(status: string): number {
  const anonymous = kilobytes(status, 'RssAnon');
  return anonymous === null ? residentBytes() : anonymous + (kilobytes(status, 'RssShmem') ?? 0);
}

function freeOnMachine(root: string, own: number): number {
  const meminfo = readText(`${root}/proc/meminfo`) ?? '';
  const free = kilobytes(meminfo, 'MemAvailable') ?? freeMemory();
  return Math.min(free + own, kilobytes(meminfo, 'MemTotal') ?? totalmem());
}

/**
 * The bytes that a group's limit leaves after the memory of its other processes; none where it has no limit.
 */
function leftIn({ version, dir }: ControlGroup, own: number): number[] {
  const stat = readText(`${dir}/memory.stat`) ?? '';
  const field = (name: string) => {
    const text = new RegExp(`^${name} (\\d+)$`, 'm').exec(stat)?.[1];
    return text === undefined ? null : Number(text);
  };
  const inFile = (name: string) => Number(readText(`${dir}/${name}`)?.trim() ?? Number.NaN);
  const limits =
    version === 2
      ? [inFile('memory.max'), inFile('memory.high')]
      : // The second limit includes outer groups, which a container does not see.
        [inFile('memory.limit_in_bytes'), field('hierarchical_memory_limit') ?? Number.NaN];
  const limit = Math.min(...limits.filter((bytes) => bytes >= 0 && bytes < unlimitedBytes));
  if (!Number.isFinite(limit)) return [];
  // Figures of a group and the groups inside it; tmpfs counts as shmem.
  const held =
    version === 2
      ? (field('anon') ?? 0) + (field('shmem') ?? 0) + kernelBytes(field)
      : (field('total_rss') ?? field('rss') ?? 0) + (field('total_shmem') ?? field('shmem') ?? 0);
  return [limit - Math.max(0, held - own)];
}

/** Version 1 reports the largest multiple of a page below 2^63 for "no limit". */
const unlimitedBytes = 2 ** 60;

/** Bytes that the system kernel holds for a group, without those it can reclaim. */
function kernelBytes(field: (name: string) => number | null): number {
  const parts = ['slab', 'kernel_stack', 'pagetables', 'percpu', 'sock'];
  const all = field('kernel') ?? parts.reduce((sum, name) => sum + (field(name) ?? 0), 0);
  return Math.max(0, all - (field('slab_reclaimable') ?? 0));
}

/** A field of /proc/meminfo or /proc/self/status, in bytes. */
function kilobytes(text: string, name: string): number | null {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
  return found === undefined ? null : Number(found) * 1024;
}
