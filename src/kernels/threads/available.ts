/** How many threads can compute at the same time. */

import { availableParallelism } from 'node:os';
import { controlGroups, readText } from '../../control-groups.ts';
import { threadsWithinOpenFiles } from '../../open-files.ts';

/**
 * The number of cores that this process may use: those it may run on, or the quota of a control group around
 * it, rounded up; limited by the number of files that it may open.
 * @param root directory that contains /proc and /sys; another one in tests
 */
export function availableThreads(root = '', cores = availableParallelism()): number {
  const quotas = controlGroups('cpu', root).map(({ version, dir }) => {
    // Microseconds of processor time per period; "max" or -1 for no limit.
    const [quota, period] =
      version === 2
        ? (readText(`${dir}/cpu.max`)?.trim().split(' ') ?? [])
        : [readText(`${dir}/cpu.cfs_quota_us`), readText(`${dir}/cpu.cfs_period_us`)];
    return Number(quota ?? Number.NaN) / Number(period ?? Number.NaN);
  });
  const least = Math.min(cores, ...quotas.filter((share) => share > 0).map(Math.ceil));
  return Math.max(1, Math.min(least, threadsWithinOpenFiles(root)));
}
