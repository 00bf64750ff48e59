/** Small file systems in memory, to fill up. */

import { spawnSync } from 'node:child_process';
import type { TestContext } from 'node:test';

/**
 * Mounts a file system at `dir` and calls `work`; skips the test where mounting is not permitted.
 * @param options such as `size=1m,nr_inodes=5`
 */
export async function withTmpfs(
  t: TestContext,
  dir: string,
  options: string,
  work: () => Promise<void>,
): Promise<void> {
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', dir]);
  if (mounted.status !== 0) {
    t.skip('mounting a file system is not permitted here');
    return;
  }
  try {
    await work();
  } finally {
    spawnSync('umount', [dir]);
  }
}
