/** What this process uses, and what the machine can give it. */

import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';

/** Resident memory now, in bytes. */
export function residentBytes(): number {
  return process.memoryUsage.rss();
}

/** The highest resident memory so far, in bytes: `VmHWM` where there is one. */
export function peakResidentBytes(): number {
  const status = readText('/proc/self/status');
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(status ?? '')?.[1];
  if (kilobytes !== undefined) return Number(kilobytes) * 1024;
  // libuv reports kilobytes on every platform.
  return process.resourceUsage().maxRSS * 1024;
}

/** Memory that can be used without pushing anything out, in bytes, and what says so. */
export interface AvailableMemory {
  readonly bytes: number;
  readonly source: 'machine' | 'cgroup';
}

/** What the machine, or the control group around this process, can give now. */
export function availableMemory(): AvailableMemory {
  const meminfo = /^MemAvailable:\s+(\d+) kB$/m.exec(readText('/proc/meminfo') ?? '')?.[1];
  const free = meminfo === undefined ? freemem() : Number(meminfo) * 1024;
  const machine = Math.min(free + residentBytes(), totalmem());
  const limit = cgroupLimit();
  return limit !== null && limit < machine
    ? { bytes: limit, source: 'cgroup' }
    : { bytes: machine, source: 'machine' };
}

/** The smallest memory limit of the control groups this process is in, or null. */
export function cgroupLimit(): number | null {
  const limits: number[] = [];
  for (const line of (readText('/proc/self/cgroup') ?? '').split('\n')) {
    const [id, controllers, path] = line.split(':');
    if (path === undefined) continue;
    const version2 = id === '0' && controllers === '';
    if (!version2 && !controllers?.split(',').includes('memory')) continue;
    const root = version2 ? '/sys/fs/cgroup' : '/sys/fs/cgroup/memory';
    const file = version2 ? 'memory.max' : 'memory.limit_in_bytes';
    // A limit may stand on any ancestor; inside a container the path may not resolve.
    for (let group = path; ; group = group.slice(0, group.lastIndexOf('/'))) {
      const limit = Number(readText(`${root}${group}/${file}`)?.trim());
      if (Number.isFinite(limit) && limit > 0 && limit < 2 ** 60) limits.push(limit);
      if (group.length <= 1) break;
    }
    const own = Number(readText(`${root}/${file}`)?.trim());
    if (Number.isFinite(own) && own > 0 && own < 2 ** 60) limits.push(own);
  }
  return limits.length === 0 ? null : Math.min(...limits);
}

function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
