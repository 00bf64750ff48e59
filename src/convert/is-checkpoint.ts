import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { manifestFile, residentFile } from '../flash/manifest.ts';

/** Whether `path` is a checkpoint rather than a model directory. */
export async function isCheckpoint(path: string): Promise<boolean> {
  const has = (name: string) =>
    stat(join(path, name)).then(
      (found) => found.isFile(),
      () => false,
    );
  const found = await stat(path).catch(() => null);
  if (found?.isFile()) return true;
  return (await has('config.json')) && !(await has(manifestFile)) && !(await has(residentFile));
}
