/** A checkpoint in several files, and the index that says which tensor is in which. */

import { dirname, join } from 'node:path';
import { type ErrorPlace, InputError } from '../errors.ts';
import { some } from '../plain-text.ts';
import { brief, isJsonObject, readJsonFile } from './json-file.ts';
import type { SourceTensor, TensorSource } from './source.ts';
import { checkTensorName } from './tensor-name.ts';

/** The most shards; each keeps a file open. The largest checkpoints known have about 200. */
const maxShards = 512;

/** A plain file name in the same directory, which no system can read as a path. */
const shardName = /^(?!\.{1,2}$)[^/\\:\p{Cc}]{1,255}$/u;

/**
 * Opens the shards that the index at `path` names, each with `openShard`. The tensors are those that the
 * shards hold; the index only says which shards there are. A tensor that only the index lists may be
 * missing unless it is needed: tools write indexes before they drop shared or unused tensors.
 * @throws InputError when the index or a shard is damaged, or no shard exists
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
  const missing = new Map<string, InputError>();
  try {
    for (const [shard, names] of shards) {
      const file = join(dirname(path), shard);
      try {
        opened.push(await openShard(file));
      } catch (error) {
        missing.set(shard, missingShard(error, names, path));
      }
    }
    const [first] = missing.values();
    if (opened.length === 0 && first !== undefined) throw first;
    const found = tensorsOf(opened);
    const shardOf = new Map(
      [...shards].flatMap(([shard, names]) => names.map((name) => [name, shard] as const)),
    );
    const absent = (name: string) => {
      const shard = shardOf.get(name);
      if (shard === undefined) return undefined;
      const place = { file: join(dirname(path), shard), tensor: name };
      return missing.get(shard) ?? notInShard(place, path);
    };
    const unlisted = new Set([...found.tensors.keys()].filter((name) => !shardOf.has(name)));
    const bytes = opened.reduce((sum, source) => sum + source.bytes, 0);
    return { ...found, listed: shardOf.size, absent, unlisted, bytes, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * The tensors of all shards. If several shards hold a tensor, the first counts, and the others are copies.
 */
function tensorsOf(shards: readonly TensorSource[]) {
  const tensors = new Map<string, SourceTensor>();
  const copies: SourceTensor[] = [];
  for (const source of shards) {
    for (const [name, tensor] of source.tensors) {
      if (tensors.has(name)) copies.push(tensor);
      else tensors.set(name, tensor);
    }
  }
  return { tensors, copies };
}

function notInShard(place: ErrorPlace, index: string): InputError {
  return new InputError(
    `${index} says that this file holds the tensor, but it does not`,
    place,
    'Download both files again: they belong to different checkpoints',
  );
}

/**
 * For a shard that does not exist, throws an error that says what it should hold.
 * @throws any other error unchanged
 */
function missingShard(error: unknown, names: readonly string[], index: string): InputError {
  if (!(error instanceof InputError) || error.message !== 'no such file') throw error;
  return new InputError(
    `this shard is missing; ${index} expects ${some(names)} in it`,
    error.place,
    'Download the missing file into the same directory',
  );
}

/** Names of the shards that the index at `path` names. @throws InputError when it is damaged */
export async function shardNamesIn(path: string): Promise<readonly string[]> {
  return [...shardsOf(await readJsonFile(path), path).keys()];
}

/** Shard name to the names of its tensors. */
function shardsOf(index: unknown, file: string): ReadonlyMap<string, string[]> {
  const weightMap = isJsonObject(index) ? index.weight_map : undefined;
  if (!isJsonObject(weightMap)) {
    throw new InputError('has no weight_map, as the index of a sharded checkpoint must', { file });
  }
  const shards = new Map<string, string[]>();
  // Creating pairs for all entries before checking the first would take too much memory with a hostile
  // index.
  for (const tensor of Object.keys(weightMap)) {
    const shard = weightMap[tensor];
    checkTensorName(tensor, file);
    if (typeof shard !== 'string' || !shardName.test(shard)) {
      throw new InputError(
        `${brief(shard)} is not the name of a file in the directory of the index`,
        {
          file,
          tensor,
        },
      );
    }
    const names = shards.get(shard);
    if (names === undefined) shards.set(shard, [tensor]);
    else names.push(tensor);
    if (shards.size > maxShards) {
      throw new InputError(`its weight_map names more than ${maxShards} files`, { file });
    }
  }
  if (shards.size === 0) throw new InputError('its weight_map names no file', { file });
  return shards;
}
