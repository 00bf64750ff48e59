/** What a model on the hub is, and whether it would run: known without its weights. */

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
  /** What is done to the checkpoint when it is converted: whether it would run depends on it. */
  readonly asked?: Asked;
  /** Default: what the environment says. */
  readonly address?: HubAddress;
  readonly timing?: Partial<HubTiming>;
  readonly signal?: AbortSignal;
}

/** What is known of a model before its weights are here. */
export interface HubModel {
  /** `owner/name`. */
  readonly model: string;
  /** The commit. */
  readonly revision: string;
  /** What is to be downloaded; `bytes` are those of all files. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  readonly bytes: number;
  /** What it would be converted to, and what keeps it from that. */
  readonly report: CheckpointReport;
}

/** A repository at a commit, and what of it is asked for. */
export interface Choice {
  readonly repository: Repository;
  readonly selection: Selection;
}

/** Small files that are asked for at a time. */
const connections = 8;

/**
 * Tells what the model is and whether it would run, without its weights; nothing is left on the disk.
 * @throws InputError when there is no such model, or it cannot be said what it is; IoError when the hub
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

/** Connects to the hub, has it list the repository, chooses, and runs `work` with that. */
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

/** The choice with the shards that the index in `dir` names. */
export async function withAllWeights(
  { repository, selection }: Choice,
  dir: string,
): Promise<Choice> {
  if (selection.index === null) return { repository, selection };
  const shards = await shardNamesIn(join(dir, selection.index));
  return { repository, selection: withShards(selection, repository, shards) };
}

/** What is said of a choice and of what it is examined to be. */
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
