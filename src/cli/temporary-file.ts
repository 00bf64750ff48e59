/** A file that is removed when the command ends, however it ends. */

import { rmSync } from 'node:fs';

/** Calls `work`, and removes `file` afterwards; also when the process is ended by a second Ctrl-C. */
export async function withTemporaryFile<T>(file: string, work: () => Promise<T>): Promise<T> {
  const remove = () => rmSync(file, { force: true });
  process.on('exit', remove);
  try {
    return await work();
  } finally {
    process.off('exit', remove);
    remove();
  }
}
