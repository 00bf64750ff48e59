/** What the system tells of other processes. */

import { readFileSync } from 'node:fs';

/** Resident bytes of a process now; 0 where the system does not tell. */
export function residentOf(pid: number): number {
  const pages = fields(pid, 'statm')?.[1];
  return pages === undefined ? 0 : Number(pages) * 4096;
}

/** What a process has computed so far, in milliseconds; null where the system does not tell. */
export function cpuMsOf(pid: number): number | null {
  // Behind the name, which may hold blanks: state is the first; user and system time, in ticks of 10 ms.
  const [user, system] = fields(pid, 'stat', /^.*\) /)?.slice(11, 13) ?? [];
  return user === undefined || system === undefined ? null : 10 * (Number(user) + Number(system));
}

function fields(pid: number, name: string, skipped = /^/): string[] | null {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1').replace(skipped, '').split(' ');
  } catch {
    return null;
  }
}
