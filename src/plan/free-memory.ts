/**
 * Memory that programs could use now, on systems without /proc/meminfo. Windows counts reclaimable cache as
 * free; macOS does not, and keeps nearly all memory in use: with libuv before 1.52 (Node 20 and 22), a Mac
 * with 18 GiB reports 0.1 GiB where 4 GiB are available.
 */

import { spawnSync } from 'node:child_process';
import { freemem } from 'node:os';

/** The system's figures; tests replace them. */
export interface MemorySystem {
  readonly platform: NodeJS.Platform;
  /** Bytes, as Node reports them. */
  free(): number;
  /** The output of macOS's `vm_stat`, or ''. */
  vmStat(): string;
}

const nodeMemorySystem: MemorySystem = {
  platform: process.platform,
  // Newer versions of Node count more on macOS than `freemem` does.
  free: () => Math.max(freemem(), process.availableMemory()),
  vmStat: () => spawnSync('/usr/bin/vm_stat', { encoding: 'utf8', timeout: 2000 }).stdout ?? '',
};

/** Pages that macOS can give to a process that needs them. */
const reclaimable = ['free', 'inactive', 'speculative', 'purgeable'];

/** Bytes that can be used without swapping. */
export function freeMemory(system = nodeMemorySystem): number {
  const free = system.free();
  return system.platform === 'darwin' ? Math.max(free, freeInVmStat(system.vmStat())) : free;
}

/** Bytes computed from the output of `vm_stat`; 0 where it has another form. */
function freeInVmStat(text: string): number {
  const pageBytes = Number(/page size of (\d+) bytes/.exec(text)?.[1] ?? 0);
  const pages = (name: string) =>
    Number(new RegExp(`^Pages ${name}:\\s+(\\d+)\\.$`, 'm').exec(text)?.[1] ?? 0);
  return reclaimable.reduce((sum, name) => sum + pages(name), 0) * pageBytes;
}
