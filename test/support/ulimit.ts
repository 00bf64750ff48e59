/** Processes with limits, as a shell sets them. */

import { spawnSync } from 'node:child_process';
import type { TestContext } from 'node:test';

/** What runs a command under a limit, as `-v 4000000` or `-n 64`. */
export function underLimit(limit: string): readonly [string, ...string[]] {
  return ['sh', '-c', `ulimit ${limit} && exec "$@"`, 'sh'];
}

/** Whether limits on processes are those of Linux; else the test is skipped. */
export function hasLimits(t: TestContext, limit: string): boolean {
  const [shell, ...args] = underLimit(limit);
  const { status } = spawnSync(shell, [...args, 'true']);
  if (process.platform === 'linux' && status === 0) return true;
  t.skip(`ulimit ${limit} cannot be set here`);
  return false;
}
