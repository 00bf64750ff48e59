/** Examines a model on the hub, and whether it would run, without downloading its weights. */

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { shardNamesIn } from '../checkpoint/hf-shards.ts';
import type { CheckpointReport } from '../convert/inspect-checkpoint.ts';
import { removeEntry } from '../moving-files.ts';
import { type HubAddress, hubAddress, modelName } from './address.ts';
import { HubConnection } from './connection.ts';
import { type Asked, examineRemote } from './examination.ts';
import { PartialDirectory } from './partial-directory.ts';
import type { HubTiming } from './patience.ts';
import { type Repository, readRepository } from './repository.ts';
import { filesOf, type Selection, selectFiles, withShards } from './selection.ts';
import { type TransferOptions, transfer } from './transfer.ts';

/** A model on the hub. */
export interface HubRequest {
  /** `owner/name`, or `owner/name:` and a quantisation or a file of a GGUF repository. */
  readonly model: string;
  /** Branch, tag or commit; default: main. */
  readonly revision?: string;
  /** Options of the conversion, on which depends whether the model would run. */
  readonly asked?: Asked;
  /** The hub; default: from the environment. */
  readonly address?: HubAddress;
  readonly timing?: Partial<HubTiming>;
  readonly signal?: AbortSignal;
}

/** The facts about a model that are known before its weights are downloaded. */
export interface HubModel {
  /** `owner/name`. */
  readonly model: string;
  /** The commit. */
  readonly revision: string;
  /** The files to download; `bytes` is their total size. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  readonly bytes: number;
  /** The model that conversion would make, or the problems that prevent it. */
  readonly report: CheckpointReport;
}

/** A repository at a commit, and the files selected from it. */
export interface Choice {
  readonly repository: Repository;
  readonly selection: Selection;
}

/** Small files that are requested at the same time. */
const connections = 8;

/**
 * Examines a model and whether it would run, without its weights; leaves nothing on the disk.
 * @throws InputError when the model does not exist or cannot be examined; IoError when the hub
 * cannot be reached
 */
export async function examineOnHub(request: HubRequest): Promise<HubModel> {
  const scratch = await mkdtemp(join(tmpdir(), 'flashllm-hub-'));
  try {
    return await withChoice(request, async (connection, choice) => {
      const partial = await PartialDirectory.open(join(scratch, 'model'));
      try {
        const counting = { connections, onBytes() {}, onChecked() {} };
        const whole = await gatherSmall(connection, choice, partial, counting);
        return await describeRemote(connection, whole, partial.path, request.asked);
      } finally {
        await partial.close();
      }
    });
  } finally {
    await removeEntry(scratch);
  }
}

/** Connects to the hub, lists the repository, selects files, and runs `work` with the selection. */
export async function withChoice<T>(
  { model, revision = 'main', address, ...rest }: HubRequest,
  work: (connection: HubConnection, choice: Choice) => Promise<T>,
): Promise<T> {
  const name = modelName(model);
  const connection = new HubConnection({ address: address ?? hubAddress(), ...rest });
  try {
    const repository = await readRepository(connection, name.id, revision);
    return await work(connection, { repository, selection: selectFiles(repository, name) });
  } finally {
    connection.close();
  }
}

/** Downloads the small files to `partial`. @returns the choice with all its weights */
export async function gatherSmall(
  connection: HubConnection,
  { repository, selection }: Choice,
  partial: PartialDirectory,
  options: TransferOptions,
): Promise<Choice> {
  const parts = [];
  for (const file of selection.small) parts.push(await partial.begin(file));
  await transfer(connection, repository, parts, options);
  return withAllWeights({ repository, selection }, partial.path);
}

/** The selection with the shards that the index in `dir` names. */
export async function withAllWeights(
  { repository, selection }: Choice,
  dir: string,
): Promise<Choice> {
  if (selection.index === null) return { repository, selection };
  const shards = await shardNamesIn(join(dir, selection.index));
  return { repository, selection: withShards(selection, repository, shards) };
}

/** The result for a selection and its examination. */
export function hubModel(choice: Choice, report: CheckpointReport): HubModel {
  const files = filesOf(choice.selection);
  return {
    model: choice.repository.id,
    revision: choice.repository.revision,
    files: files.map(({ name, bytes }) => ({ name, bytes })),
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    report,
  };
}

/** The model whose small files are in `dir`, with headers from the hub. */
export async function describeRemote(
  connection: HubConnection,
  choice: Choice,
  dir: string,
  asked: Asked = {},
): Promise<HubModel> {
  const { repository, selection } = choice;
  return hubModel(choice, await examineRemote(connection, repository, selection, dir, asked));
}
