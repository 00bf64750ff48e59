/** The file that a probe reads: a model's own weights, or one made for the purpose. */

import { constants } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createFile, writeFully } from '../aside.ts';
import { InputError } from '../errors.ts';
import { freeBytes } from '../free-space.ts';
import { removeEntry } from '../moving-files.ts';
import { ownedName, sweepBeside } from '../owned.ts';
import { createBuffer } from '../pages.ts';
import { formatBytes, MIB } from '../units.ts';
import { DeviceFile } from './device-file.ts';
import {
  type DeviceProfile,
  defaultProfile,
  loadProfile,
  queuedDeeply,
  saveProfile,
} from './device-profile.ts';
import { bundlesFile } from './manifest.ts';
import { quickProbe } from './probe.ts';
import type { ReadSystem } from './read-system.ts';

/** A smaller file fits the device's own cache and says little about the device. */
const smallestProbeBytes = 128 * MIB;
const madeBytes = 1024 * MIB;

export interface ProbeFile {
  readonly path: string;
  readonly bytes: number;
  /** Removes the file if it was made. */
  release(): Promise<void>;
}

/**
 * A file in `dir` to probe: the weights where `dir` is a model, else a temporary file.
 * @throws InputError when there is no such directory, or not enough disk space
 */
export async function probeFileIn(dir: string): Promise<ProbeFile> {
  const found = await stat(dir).catch(() => null);
  if (found === null) throw new InputError('no such directory', { file: dir });
  if (!found.isDirectory()) throw new InputError('is not a directory', { file: dir });
  const model = await modelFile(dir);
  if (model !== null) return { ...model, release: async () => {} };
  const base = join(resolve(dir), '.flashllm');
  await sweepBeside(base, ['probe']);
  const free = await freeBytes(dir);
  const bytes = Math.min(madeBytes, Math.floor(free / 4 / MIB) * MIB);
  if (bytes < smallestProbeBytes) {
    throw new InputError(
      `the probe needs a file of ${formatBytes(smallestProbeBytes)} and the disk has ` +
        `${formatBytes(free)} free`,
      { file: dir },
      'Free some space or choose another place',
    );
  }
  const path = ownedName(base, 'probe');
  const release = () => removeEntry(path);
  try {
    await writeProbeFile(path, bytes);
  } catch (cause) {
    await release();
    throw new InputError(`cannot write: ${(cause as Error).message}`, { file: dir });
  }
  return { path, bytes, release };
}

/**
 * The profile of the device that holds the model in `dir`. If there is none, the device is measured now,
 * provided that the model is large enough and that reads bypass the page cache: a model that was just written
 * is in the page cache, and the stored profile would show a device as fast as memory.
 * @param onProbe called before a measurement begins
 */
export async function ensureProfile(
  dir: string,
  onProbe?: () => void,
  system?: ReadSystem,
): Promise<DeviceProfile> {
  const known = await loadProfile(dir);
  const model = await modelFile(dir);
  if (known.source === 'measured' || model === null) return known;
  const file = await DeviceFile.open(model.path, system);
  try {
    if (!file.direct) return known;
    onProbe?.();
    const profile = await quickProbe(file);
    await saveProfile(dir, profile);
    return queuedDeeply(profile);
  } catch {
    return defaultProfile; // reading the model will fail in the same way and name the place
  } finally {
    file.close();
  }
}

async function modelFile(dir: string): Promise<{ path: string; bytes: number } | null> {
  const path = join(dir, bundlesFile);
  const found = await stat(path).catch(() => null);
  return found !== null && found.size >= smallestProbeBytes ? { path, bytes: found.size } : null;
}

/** Writes past the page cache where possible, so that buffered reads are cold, too. */
async function writeProbeFile(path: string, bytes: number): Promise<void> {
  const data = new Uint8Array(createBuffer(4 * MIB).buffer);
  for (let i = 0; i < data.length; i += 8) data[i] = (i * 2654435761) >>> 24; // not all zeros
  const direct = (constants.O_DIRECT as number | undefined) ?? 0;
  const handle = await createFile(path, direct).catch(async () => {
    // Some systems create the file even where they refuse direct I/O.
    await removeEntry(path);
    return createFile(path);
  });
  try {
    for (let at = 0; at < bytes; at += data.length) {
      await writeFully(handle, data.subarray(0, Math.min(data.length, bytes - at)), at);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}
