/**
 * Downloads models from the hub: only the needed files, checked, into a directory that appears when it
 * is complete.
 */

import { readdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { inspectCheckpoint } from '../convert/inspect-checkpoint.ts';
import { DiskFullError, InputError } from '../errors.ts';
import { freeBytes } from '../free-space.ts';
import { formatBytes } from '../units.ts';
import type { HubConnection } from './connection.ts';
import { digestOfFile } from './file-hash.ts';
import {
  type Choice,
  describeRemote,
  gatherSmall,
  type HubModel,
  type HubRequest,
  hubModel,
  withAllWeights,
  withChoice,
} from './hub-model.ts';
import { PartialDirectory, partialPath } from './partial-directory.ts';
import { checkpointIn, filesOf, type WantedFile } from './selection.ts';
import { transfer } from './transfer.ts';

export interface PullRequest extends HubRequest {
  /**
   * Target directory; default: in the working directory, with the name of the repository or of the GGUF
   * file.
   */
  readonly directory?: string;
  /** Simultaneous requests; default: 8. */
  readonly connections?: number;
  readonly onProgress?: (progress: PullProgress) => void;
  /**
   * Called when the examination shows that the model would run, before its weights are downloaded; an error
   * that it throws ends the download.
   */
  readonly onExamined?: (model: HubModel, place: PullPlace) => void | Promise<void>;
}

export interface PullPlace {
  readonly directory: string;
  /** Bytes still to be downloaded. */
  readonly missingBytes: number;
}

/** Bytes of this run. */
export interface PullProgress {
  readonly downloadedBytes: number;
  readonly checkedBytes: number;
  /** The final values of both. */
  readonly bytesToDownload: number;
  readonly bytesToCheck: number;
}

export interface PullReport extends HubModel {
  readonly directory: string;
  /** The path to give to `convert`: the directory, or the GGUF file in it. */
  readonly checkpoint: string;
  /** Bytes that were downloaded into files. */
  readonly downloadedBytes: number;
  /** Bytes that were already there: from a stopped run, or all of them. */
  readonly resumedBytes: number;
  readonly ms: number;
}

const usualConnections = 8;
const mostConnections = 64;

/**
 * Downloads the model into a directory that appears when the model is complete and checked. Resumes a run
 * that was stopped or killed; if the directory already holds the model, it is checked.
 * @throws InputError when the model would not run, or something else has the directory's name; DiskFullError
 * before the weights are downloaded; IoError when the hub cannot be reached, or sends other data than it
 * lists
 */
export async function pullModel(request: PullRequest): Promise<PullReport> {
  const started = performance.now();
  const connections = request.connections ?? usualConnections;
  if (!(Number.isInteger(connections) && connections >= 1 && connections <= mostConnections)) {
    throw new InputError(`connections must be from 1 to ${mostConnections}, not ${connections}`);
  }
  return withChoice(request, async (connection, choice) => {
    const directory = request.directory ?? choice.selection.directoryName;
    const pulled = (await isTaken(resolve(directory)))
      ? await checkThere(connection, choice, directory, request)
      : await download(connection, choice, directory, { ...request, connections });
    return {
      ...pulled,
      directory,
      checkpoint: checkpointIn(directory, choice.selection),
      ms: performance.now() - started,
    };
  });
}

type Pulled = Omit<PullReport, 'directory' | 'checkpoint' | 'ms'>;

async function download(
  connection: HubConnection,
  choice: Choice,
  directory: string,
  request: PullRequest & { readonly connections: number },
): Promise<Pulled> {
  const { connections, onProgress, onExamined, asked } = request;
  const done = { downloadedBytes: 0, checkedBytes: 0 };
  let planned = { bytesToDownload: 0, bytesToCheck: 0 };
  const progress = () => onProgress?.({ ...done, ...planned });
  const counting = {
    connections,
    onBytes(bytes: number) {
      done.downloadedBytes += bytes;
      progress();
    },
    onChecked(bytes: number) {
      done.checkedBytes += bytes;
      progress();
    },
  };
  const partial = await PartialDirectory.open(directory);
  // A partial download with only small files is not worth keeping.
  let isKept = partial.holdsWeights;
  try {
    const whole = await gatherSmall(connection, choice, partial, counting);
    const small = { ...done };
    const model = await describeRemote(connection, whole, partial.path, asked);
    const [problem] = model.report.problems;
    if (problem !== undefined) {
      throw new InputError(`the model was not downloaded because it would not run: ${problem}`);
    }
    const parts = [];
    for (const file of filesOf(whole.selection)) parts.push(await partial.begin(file));
    const unchecked = parts.filter((part) => !part.done);
    const sum = (sizes: readonly number[]) => sizes.reduce((total, bytes) => total + bytes, 0);
    const missingBytes = sum(unchecked.map(({ file, got }) => file.bytes - got.bytes));
    await checkRoom(directory, missingBytes);
    await onExamined?.(model, { directory, missingBytes });
    planned = {
      bytesToDownload: small.downloadedBytes + missingBytes,
      bytesToCheck: small.checkedBytes + sum(unchecked.map(({ file }) => file.bytes)),
    };
    isKept = true;
    await transfer(connection, choice.repository, unchecked, counting);
    await partial.commit();
    const resumedBytes = sum(parts.map((part) => part.resumedBytes));
    return { ...model, downloadedBytes: done.downloadedBytes, resumedBytes };
  } finally {
    if (!isKept) await partial.remove();
    await partial.close();
  }
}

/** @throws DiskFullError when the device has too little space */
async function checkRoom(directory: string, bytes: number): Promise<void> {
  const free = await freeBytes(dirname(resolve(directory)));
  if (bytes <= free) return;
  throw new DiskFullError(
    `the download needs ${formatBytes(bytes)} more, but the disk has only ${formatBytes(free)} free`,
    { file: partialPath(directory) },
    'Free some space or choose another directory',
  );
}

/** Whether something exists at `place`; an empty directory does not count. */
async function isTaken(place: string): Promise<boolean> {
  const found = await stat(place).catch(() => null);
  if (found === null) return false;
  return !found.isDirectory() || (await readdir(place)).length > 0;
}

/**
 * The report on a directory that already exists.
 * @throws InputError when it is not the model at this commit
 */
async function checkThere(
  connection: HubConnection,
  choice: Choice,
  directory: string,
  { asked, onProgress }: PullRequest,
): Promise<Pulled> {
  const { signal } = connection;
  let checkedBytes = 0;
  let bytesToCheck = 0;
  const check = async (files: readonly WantedFile[]) => {
    for (const file of files) {
      const found = await stat(join(directory, file.name)).catch(() => null);
      if (found === null) throw taken(directory, choice, `it has no ${file.name}`);
      if (found.size !== file.bytes) {
        throw taken(directory, choice, `its ${file.name} has another length`);
      }
      bytesToCheck += file.bytes;
    }
    for (const file of files) {
      const digest = await digestOfFile(join(directory, file.name), file, signal, (bytes) => {
        checkedBytes += bytes;
        onProgress?.({ downloadedBytes: 0, checkedBytes, bytesToDownload: 0, bytesToCheck });
      });
      if (digest === file.hash.digest) continue;
      throw taken(directory, choice, `its ${file.name} has other contents`);
    }
  };
  await check(choice.selection.small);
  const whole = await withAllWeights(choice, directory);
  await check(whole.selection.weights);
  const report = await inspectCheckpoint(checkpointIn(directory, whole.selection), asked);
  const model = hubModel(whole, report);
  return { ...model, downloadedBytes: 0, resumedBytes: model.bytes };
}

function taken(directory: string, { repository }: Choice, why: string): InputError {
  return new InputError(
    `already exists, but is not ${repository.id} at ${repository.revision.slice(0, 12)}: ${why}`,
    { file: directory },
    'Choose another directory, or remove it',
  );
}
