/** Whether a model on the hub would run, from its configuration and its weights' headers. */

import { join } from 'node:path';
import type { WeightPlace } from '../checkpoint/hf-directory.ts';
import type { Adaptation } from '../convert/adaptation.ts';
import type { OpenCheckpoint } from '../convert/checkpoint.ts';
import { openDirectory } from '../convert/directory-checkpoint.ts';
import type { AskedDTypes } from '../convert/dtypes.ts';
import { openGgufCheckpoint } from '../convert/gguf-checkpoint.ts';
import { type CheckpointReport, inspectCheckpoint } from '../convert/inspect-checkpoint.ts';
import { InputError } from '../errors.ts';
import { forEachParallel } from '../parallel.ts';
import type { HubConnection } from './connection.ts';
import { RemoteFile } from './remote-file.ts';
import { contentPath, type Repository } from './repository.ts';
import { checkpointIn, filesOf, type Selection } from './selection.ts';

/** Headers that are requested at the same time. */
const connections = 8;
/** Bytes compared of two tensors that may be the same: different ones mostly differ at the beginning. */
const mostCompared = 64 * 1024;

/** The options of the checkpoint's conversion. */
export type Asked = AskedDTypes & Adaptation;

/**
 * Inspects the model whose small files are in `dir`, with the weights' headers from the hub.
 * @throws InputError as {@link inspectCheckpoint}, with paths in the repository; IoError when the hub
 * cannot be reached
 */
export async function examineRemote(
  connection: HubConnection,
  repository: Repository,
  selection: Selection,
  dir: string,
  asked: Asked,
): Promise<CheckpointReport> {
  const { weights, format } = selection;
  const files = new Map(
    weights.map((file) => {
      const path = join(dir, file.name);
      const place = { address: contentPath(repository, file), path, size: file.bytes };
      return [path, new RemoteFile(connection, place)] as const;
    }),
  );
  await forEachParallel([...files.values()], connections, (file) => file.begin());
  const place: WeightPlace = {
    names: filesOf(selection).map(({ name }) => name),
    open: async (path) => {
      const file = files.get(path);
      if (file === undefined) throw new InputError('no such file', { file: path });
      if (file.size === 0) throw new InputError('is empty', { file: path });
      return file;
    },
  };
  const open: OpenCheckpoint = async (path) => {
    const checkpoint = await (format === 'GGUF'
      ? openGgufCheckpoint(path, place.open)
      : openDirectory(path, place));
    return { ...checkpoint, source: { ...checkpoint.source, mostCompared } };
  };
  const path = checkpointIn(dir, selection);
  // The directory is temporary and unknown to the user, so messages must not name it.
  const onHub = (text: string) => text.replaceAll(dir, repository.id);
  try {
    const report = await inspectCheckpoint(path, asked, open);
    return {
      ...report,
      checkpoint: onHub(path),
      problems: report.problems.map(onHub),
      notes: report.notes.map(onHub),
    };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const { message, hint, place } = error;
    const { file, ...where } = place;
    throw new InputError(
      onHub(message),
      { ...where, ...(file !== undefined && { file: onHub(file) }) },
      hint,
      { cause: error },
    );
  }
}
