/** A Hugging Face directory: its configuration, and its weights in whichever of the usual files. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { InputError } from '../errors.ts';
import { textPart } from '../models/text-part.ts';
import { fileError, type OpenFile, openLocal } from './file.ts';
import { openShards } from './hf-shards.ts';
import { isJsonObject, readJsonFile } from './json-file.ts';
import { adapterConfigFile } from './lora/adapter-config.ts';
import { hiddenQuantisation } from './quantisation.ts';
import { openSafetensors } from './safetensors.ts';
import type { TensorSource } from './source.ts';
import { openTorch } from './torch.ts';

interface WeightFile {
  readonly name: string;
  readonly open: (path: string, open: OpenFile) => Promise<TensorSource>;
}

/**
 * The files to look for, in order of preference: safetensors before pickles, a single file before shards.
 */
const weightFiles: readonly WeightFile[] = [
  { name: 'model.safetensors', open: openSafetensors },
  {
    name: 'model.safetensors.index.json',
    open: (path, open) => openShards(path, (shard) => openSafetensors(shard, open)),
  },
  { name: 'pytorch_model.bin', open: openTorch },
  {
    name: 'pytorch_model.bin.index.json',
    open: (path, open) => openShards(path, (shard) => openTorch(shard, open)),
  },
];

/** Names of the weight files to look for, in order of preference; one that ends in .json is an index. */
export const weightFileNames: readonly string[] = weightFiles.map(({ name }) => name);

/** Where the weights of a directory are. */
export interface WeightPlace {
  /** Files in the directory. */
  readonly names: readonly string[];
  readonly open: OpenFile;
}

/** Weights in unsupported formats, which the error names when nothing else is found. */
const otherWeights = /\.(h5|msgpack|onnx|ot|pth?|gguf|ggml|npz|ckpt|safetensors|bin)$/;

/** What a checkpoint says about itself. */
export interface CheckpointConfig {
  /**
   * The parsed `config.json`, an object with unchecked content; for a supported multimodal model, the
   * configuration of its text part.
   */
  readonly config: Readonly<Record<string, unknown>>;
  /** Whether that is the text part of a multimodal model, whose tensors have other names. */
  readonly isPart: boolean;
  /** Path of that file, for messages. */
  readonly file: string;
}

/**
 * Reads `config.json` in the directory `dir`.
 * @throws InputError when there is no such directory, no such file in it, or no JSON object in that file.
 */
export async function readConfig(dir: string): Promise<CheckpointConfig> {
  const names = await namesIn(dir);
  if (!names.includes('config.json')) {
    throw new InputError(
      'no config.json in this directory',
      { file: dir },
      names.includes(adapterConfigFile)
        ? 'It holds an adapter: give the checkpoint that it was trained on, and this directory with --lora'
        : 'Give the directory of a Hugging Face model, as downloaded',
    );
  }
  const file = join(dir, 'config.json');
  const config = await readJsonFile(file);
  if (!isJsonObject(config)) throw new InputError('is not a JSON object', { file });
  const text = textPart(config);
  return { config: text ?? config, isPart: text !== null, file };
}

/**
 * Opens the weights in the directory `dir`, or those that `place` has under the same path; an index is
 * always in `dir`.
 * @throws InputError when there is no such directory, no weights in it, or they cannot be used.
 */
export async function openWeights(dir: string, place?: WeightPlace): Promise<TensorSource> {
  const { names, open } = place ?? { names: await namesIn(dir), open: openLocal };
  const found = weightFiles.find(({ name }) => names.includes(name));
  if (found !== undefined) return found.open(join(dir, found.name), open);

  const quantised = await hiddenQuantisation(dir, []);
  if (quantised !== undefined) throw quantised;
  const wanted = weightFiles.map(({ name }) => name).join(', ');
  const others = names.filter((name) => otherWeights.test(name)).sort();
  const seen = others.length === 0 ? '' : `; it has ${others.slice(0, 5).join(', ')}`;
  throw new InputError(
    `no weights in this directory: none of ${wanted}${seen}`,
    { file: dir },
    'Download the whole model directory, weights included',
  );
}

async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw new InputError('no such directory', { file: dir });
    if (code === 'ENOTDIR') throw new InputError('is not a directory', { file: dir });
    throw fileError(error, dir, 'reading the directory');
  }
}
