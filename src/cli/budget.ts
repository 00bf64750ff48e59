/** The memory budget where the user gives none. */

import type { AvailableMemory } from '../plan/available.ts';
import { formatBytes } from '../units.ts';
import { note } from './terminal.ts';

const givers = {
  machine: "this machine's free memory",
  cgroup: "this control group's remaining memory",
  limit: "the memory within this process's limits (ulimit -v and -d)",
} as const;

/** Prints a default budget and its source. */
export function sayBudget(bytes: number, source: AvailableMemory['source']): void {
  note(`DRAM budget ${formatBytes(bytes)}: 90% of ${givers[source]}; set it with --dram-budget`);
}
