/**
 * Memory that programs could have now, on systems without /proc/meminfo. Windows counts what its cache
 * would give up as free; macOS does not, and keeps nearly all memory in use: with libuv before 1.52
 * (Node 20 and 22), a Mac of 18 GiB says 0.1 GiB where 4 could be had.
 */

import { spawnSync } from 'node:child_process';
import { freemem } from 'node:os';

/** What is asked; tests put another one in its place. */
export interface MemorySystem {
  readonly platform: NodeJS.Platform;
  /** Bytes, as Node tells them. */
  free(): number;
  /** What macOS's `vm_stat` prints, or ''. */
  vmStat(): string;
}

const nodeMemorySystem: MemorySystem = {
  platform: process.platform,
  // Newer versions of Node count more on macOS than `freemem` does.
  free: () => Math.max(freemem(), process.availableMemory()),
  vmStat: () => spawnSync('/usr/bin/vm_stat', { encoding: 'utf8', timeout: 2000 }).stdout ?? '',
};

/** Pages that macOS gives to whoever needs them. */
const reclaimable = ['free', 'inactive', 'speculative', 'purgeable'];

/** Bytes that can be had without pushing anything out. */
export function freeMemory(system = nodeMemorySystem): number {
  const free = system.free();
  return system.platform === 'darwin' ? Math.max(free, freeInVmStat(system.vmStat())) : free;
}

/** Bytes by what `vm_stat` prints; 0 where it is something else. */
function freeInVmStat(text: string): number {
  const pageBytes = Number(/page size of (\d+) bytes/.exec(text)?.[1] ?? 0);
  const pages = (name: string) =>
    Number(new RegExp(`^Pages ${name}:\\s+(\\d+)\\.$`, 'm').exec(text)?.[1] ?? 0);
  return reclaimable.reduce((sum, name) => sum + pages(name), 0) * pageBytes;
}
