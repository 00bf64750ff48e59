/**
 * What the machine can give this process. Pages that only cache a file are given up when somebody
 * needs room, so they are free; what others hold besides would have to be swapped, or somebody killed.
 */

import { totalmem } from 'node:os';
import { mappableBytes } from '../address-space.ts';
import { type ControlGroup, controlGroups, readText } from '../control-groups.ts';
import { freeMemory } from './free-memory.ts';
import { residentBytes } from './process.ts';

/** Memory that can be used without pushing anything out, in bytes, and what says so. */
export interface AvailableMemory {
  /** With what this process uses already. */
  readonly bytes: number;
  readonly source: 'machine' | 'cgroup' | 'limit';
}

/**
 * What the machine, the control groups around this process, or its own limits can give now.
 * @param root where /proc and /sys are; elsewhere in tests
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

/** Bytes that this process has to itself: pages of files, Node's own code among them, are cache. */
function ownBytes(status: string): number {
  const anonymous = kilobytes(status, 'RssAnon');
  return anonymous === null ? residentBytes() : anonymous + (kilobytes(status, 'RssShmem') ?? 0);
}

function freeOnMachine(root: string, own: number): number {
  const meminfo = readText(`${root}/proc/meminfo`) ?? '';
  const free = kilobytes(meminfo, 'MemAvailable') ?? freeMemory();
  return Math.min(free + own, kilobytes(meminfo, 'MemTotal') ?? totalmem());
}

/** What a group's limit leaves besides what others in it hold; nothing where it has no limit. */
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
      : // The second is that of outer groups too, which a container does not see.
        [inFile('memory.limit_in_bytes'), field('hierarchical_memory_limit') ?? Number.NaN];
  const limit = Math.min(...limits.filter((bytes) => bytes >= 0 && bytes < unlimitedBytes));
  if (!Number.isFinite(limit)) return [];
  // Of a group and those inside it; tmpfs is shmem.
  const held =
    version === 2
      ? (field('anon') ?? 0) + (field('shmem') ?? 0) + kernelBytes(field)
      : (field('total_rss') ?? field('rss') ?? 0) + (field('total_shmem') ?? field('shmem') ?? 0);
  return [limit - Math.max(0, held - own)];
}

/** Version 1 writes the largest whole page below 2^63 for no limit. */
const unlimitedBytes = 2 ** 60;

/** What the kernel itself holds for a group, but for what it can give up. */
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
