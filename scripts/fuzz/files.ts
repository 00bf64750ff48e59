/** An input of a case: the entries of a directory, by name, which need not be regular files. */

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/** What may be in the place of a file. */
export const oddities = [
  'fifo',
  'directory',
  'loop',
  'dangling link',
  'endless device',
  'no permission',
] as const;
export type Oddity = (typeof oddities)[number];

/** Content by path, with slashes. */
export type Files = Map<string, Buffer | Oddity>;

/** All regular files below `dir`. */
export function readFiles(dir: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(path.slice(dir.length + 1).replaceAll('\\', '/'), readFileSync(path));
  }
  // File systems order directories differently, and cases must not depend on that order.
  return new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Creates `dir` and writes `files` into it. Entries that a platform cannot create are left out. */
export function writeFiles(dir: string, files: ReadonlyMap<string, Buffer | Oddity>): void {
  mkdirSync(dir, { recursive: true });
  for (const [name, content] of files) {
    const path = join(dir, name);
    mkdirSync(dirname(path), { recursive: true });
    if (typeof content !== 'string') writeFileSync(path, content);
    else if (process.platform !== 'win32') makeOddity(path, content);
  }
}

function makeOddity(path: string, oddity: Oddity): void {
  if (oddity === 'fifo') spawnSync('mkfifo', [path]);
  else if (oddity === 'directory') mkdirSync(path);
  else if (oddity === 'loop') symlinkSync(path, path);
  else if (oddity === 'dangling link') symlinkSync(`${path}.nowhere`, path);
  else if (oddity === 'endless device') symlinkSync('/dev/zero', path);
  else {
    writeFileSync(path, 'secret');
    chmodSync(path, 0);
  }
}
