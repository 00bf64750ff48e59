/** Control groups with a memory limit that the kernel enforces. */

import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export interface MemoryGroup {
  /** What to put before a command so that it runs in the group. */
  readonly under: readonly [string, ...string[]];
  /** Processes that the kernel killed. */
  kills(): number;
}

/** Where version 1 and version 2 of the interface keep what is needed. */
const interfaces = [
  { root: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', events: 'memory.oom_control' },
  { root: '/sys/fs/cgroup', limit: 'memory.max', events: 'memory.events' },
];
let groups = 0;

/** A group of `bytes`, to be removed when its processes have ended; null where none can be made. */
export function openMemoryGroup(bytes: number): (MemoryGroup & { remove(): void }) | null {
  const name = `flashllm-test-${process.pid}-${groups++}`;
  const made = interfaces.find(({ root, limit }) => makeGroup(join(root, name), limit, bytes));
  if (made === undefined) return null;
  const dir = join(made.root, name);
  const enter = `echo $$ > ${dir}/cgroup.procs && exec "$@"`;
  return {
    under: ['sh', '-c', enter, 'sh'],
    kills: () => {
      const events = readFileSync(join(dir, made.events), 'utf8');
      const counted = /^oom_kill (\d+)$/m.exec(events)?.[1];
      if (counted === undefined) throw new Error(`${made.events} does not count kills`);
      return Number(counted);
    },
    remove: () => rmdirSync(dir),
  };
}

/** No group: what can be told without a limit that the kernel enforces is told all the same. */
const withoutGroup: MemoryGroup = { under: ['env'], kills: () => 0 };

/** Calls `work` with a group of `bytes`, or, where none can be made, with a group that limits nothing. */
export async function withMemoryGroupIfAny(
  t: TestContext,
  bytes: number,
  work: (group: MemoryGroup) => Promise<void>,
): Promise<void> {
  const group = openMemoryGroup(bytes);
  if (group === null) t.diagnostic('no control group with a memory limit can be made here');
  try {
    await work(group ?? withoutGroup);
  } finally {
    group?.remove();
  }
}

/** Calls `work` with a group of `bytes`; skips the test where no such group can be made. */
export function withMemoryGroup(
  t: TestContext,
  bytes: number,
  work: (group: MemoryGroup) => Promise<void>,
): Promise<void> {
  return withMemoryGroupIfAny(t, bytes, async (group) => {
    if (group === withoutGroup)
      t.skip('making a control group with a memory limit is not permitted here');
    else await work(group);
  });
}

function makeGroup(dir: string, limit: string, bytes: number): boolean {
  try {
    mkdirSync(dir);
  } catch {
    return false;
  }
  try {
    if (!existsSync(join(dir, limit))) throw new Error('the group has no memory controller');
    writeFileSync(join(dir, limit), String(bytes));
    return true;
  } catch {
    rmdirSync(dir);
    return false;
  }
}
