/** Free space on the device that holds a path. */

import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

/** `dir`, or the lowest directory above it that exists. */
export async function nearestDirectory(dir: string): Promise<string> {
  for (let at = dir; ; at = dirname(at)) {
    if ((await stat(at).catch(() => null)) !== null || at === dirname(at)) return at;
  }
}

/** Free bytes for files in `dir`, which need not exist yet. */
export async function freeBytes(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(await nearestDirectory(dir));
  return bavail * bsize;
}

/** Whether both directories, which need not exist yet, are on the same device. */
export async function shareDevice(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all(
    [one, other].map(async (dir) => (await stat(await nearestDirectory(dir))).dev),
  );
  return a === b;
}
