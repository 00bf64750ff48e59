/** Directories of given files, such as /proc and /sys of a machine that is not this one. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** What `work` returns for a directory that holds `files`, text by path. */
export function withFiles<T>(
  files: Readonly<Record<string, string>>,
  work: (root: string) => T,
): T {
  const root = mkdtempSync(join(tmpdir(), 'flashllm-files-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      const file = join(root, name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text);
    }
    return work(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}
