/** Named pipes, which Node cannot make. */

import { execFileSync } from 'node:child_process';

/** Makes a FIFO at `path`; not on Windows. */
export function mkfifoSync(path: string): void {
  execFileSync('mkfifo', [path]);
}
