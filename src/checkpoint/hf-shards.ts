/** A checkpoint in several files, and the index that says which tensor is in which. */

import { dirname, join } from 'node:path';
import { InputError } from '../errors.ts';
import { brief, isJsonObject, readJsonFile } from './json-file.ts';
import type { SourceTensor, TensorSource } from './source.ts';
import { checkTensorName } from './tensor-name.ts';

/** Most shards, each of which keeps a file open. The largest checkpoints known have about 200. */
const maxShards = 512;

/** A plain name in the same directory; nothing that a system could take for a path. */
const shardName = /^(?!\.{1,2}$)[^/\\:\p{Cc}]{1,255}$/u;

/**
 * Opens the shards that the index at `path` names, each with `openShard`. The tensors are those of
 * the index, each from the shard it names.
 * @throws InputError when the index is damaged, a shard is missing, or a tensor is not in its shard.
 */
export async function openShards(
  path: string,
  openShard: (path: string) => Promise<TensorSource>,
): Promise<TensorSource> {
  const shards = shardsOf(await readJsonFile(path), path);
  const opened: TensorSource[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(opened.map((source) => source.close()));
  };
  try {
    const tensors = new Map<string, SourceTensor>();
    let bytes = 0;
    for (const [shard, names] of shards) {
      const file = join(dirname(path), shard);
      const source = await openShard(file).catch((error: unknown) => {
        throw missingShard(error, names, path);
      });
      opened.push(source);
      bytes += source.bytes;
      for (const name of names) {
        const tensor = source.tensors.get(name);
        if (tensor === undefined) {
          throw new InputError(
            `${path} says that this file holds the tensor, but it does not`,
            { file, tensor: name },
            'Download both files again: they belong to different checkpoints',
          );
        }
        tensors.set(name, tensor);
      }
    }
    return { tensors, bytes, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Says of a shard that does not exist what it should hold; passes on all other errors. */
function missingShard(error: unknown, names: readonly string[], index: string): unknown {
  if (!(error instanceof InputError) || error.message !== 'no such file') return error;
  const some = names.slice(0, 3).join(', ');
  const rest = names.length > 3 ? ` and ${names.length - 3} more` : '';
  return new InputError(
    `this shard is missing; ${index} expects ${some}${rest} in it`,
    error.place,
    'Download the missing file into the same directory',
  );
}

/** Shard name to the names of its tensors. */
function shardsOf(index: unknown, file: string): ReadonlyMap<string, string[]> {
  const weightMap = isJsonObject(index) ? index.weight_map : undefined;
  if (!isJsonObject(weightMap)) {
    throw new InputError('has no weight_map, as the index of a sharded checkpoint must', { file });
  }
  const shards = new Map<string, string[]>();
  for (const [tensor, shard] of Object.entries(weightMap)) {
    checkTensorName(tensor, file);
    if (typeof shard !== 'string' || !shardName.test(shard)) {
      throw new InputError(`${brief(shard)} is no name of a file beside the index`, {
        file,
        tensor,
      });
    }
    const names = shards.get(shard);
    if (names === undefined) shards.set(shard, [tensor]);
    else names.push(tensor);
  }
  if (shards.size === 0 || shards.size > maxShards) {
    throw new InputError(`its weight_map names ${shards.size} files (1 to ${maxShards})`, { file });
  }
  return shards;
}
