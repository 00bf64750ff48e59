/** What the operating system reports about other processes. */

import { readFileSync } from 'node:fs';

/** Resident bytes of a process now; 0 if the system does not report them. */
export function residentOf(pid: number): number {
  const pages = fields(pid, 'statm')?.[1];
  return pages === undefined ? 0 : Number(pages) * 4096;
}

/** Processor time of a process so far, in milliseconds; null if the system does not report it. */
export function cpuMsOf(pid: number): number | null {
  // Fields after the name, which may contain spaces: the first is the state; times are in ticks of 10 ms.
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

/** On any usable machine, a process that has work gets at least a fiftieth of a core. */
const leastShare = 0.02;
const shareMs = 2_000;

/**
 * How long a process has been silent. A busy machine may be the cause, so silence counts only if the process
 * has computed all that time, or has not computed at all.
 */
export class Silence {
  readonly #pid: number;
  readonly #since = performance.now();
  readonly #cpuMs: number | null;
  #look: { readonly at: number; readonly cpuMs: number };
  #idle = false;

  constructor(pid: number) {
    this.#pid = pid;
    this.#cpuMs = cpuMsOf(pid);
    this.#look = { at: this.#since, cpuMs: this.#cpuMs ?? 0 };
  }

  exceeds(ms: number): boolean {
    const now = performance.now();
    const cpuMs = cpuMsOf(this.#pid);
    if (cpuMs === null || this.#cpuMs === null) return now - this.#since > ms;
    if (now - this.#look.at > shareMs) {
      this.#idle = cpuMs - this.#look.cpuMs < leastShare * (now - this.#look.at);
      this.#look = { at: now, cpuMs };
    }
    return now - this.#since > ms && (this.#idle || cpuMs - this.#cpuMs > ms);
  }
}
