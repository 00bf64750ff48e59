/** Allows one training of a model at a time, and none of a model that is being replaced. */

import { realpath } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createFile } from '../aside.ts';
import { InputError, writeError } from '../errors.ts';
import { trainingBase } from '../flash/manifest.ts';
import { claim, keepClaim, othersBeside } from '../owned.ts';

const hint = 'Wait until it has ended, or end it';

/**
 * Claims the model in `dir` for training.
 * @returns a function that releases the claim
 * @throws InputError that names the process which trains the model or is replacing it
 */
export async function claimTraining(dir: string): Promise<() => void> {
  const busy = (pid: number) =>
    new InputError(`is being trained by process ${pid}`, { file: dir }, hint);
  const path = await claim(join(dir, trainingBase), ['running'], makeEmpty, busy).catch(
    (cause: unknown) => {
      throw writeError(cause, dir);
    },
  );
  const release = keepClaim(path);
  const places = new Set([resolve(dir), await realpath(dir).catch(() => resolve(dir))]);
  for (const place of places) {
    const [writer] = await othersBeside(place, ['partial', 'replaced']);
    if (writer === undefined) continue;
    release();
    throw new InputError(`is being replaced by process ${writer.pid}`, { file: dir }, hint);
  }
  return release;
}

async function makeEmpty(path: string): Promise<void> {
  const file = await createFile(path);
  await file.close();
}
