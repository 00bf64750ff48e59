/**
 * What a checkpoint would become, and what keeps it from it, without reading a weight: the answer to
 * "will it run" before anything is converted.
 */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readConfig } from '../checkpoint/hf-directory.ts';
import type { AdapterReport } from '../checkpoint/lora/merged-source.ts';
import { type FloatDType, floatDTypes } from '../dtype.ts';
import { InputError } from '../errors.ts';
import { layoutModel, type StorageDTypes } from '../flash/layout.ts';
import {
  bundlesFile,
  type Manifest,
  manifestFile,
  residentFile,
  rowsOf,
} from '../flash/manifest.ts';
import { recipeOf } from '../models/index.ts';
import {
  activations,
  type ModelRecipe,
  type ModelSpec,
  type WeightDTypes,
} from '../models/spec.ts';
import { version } from '../version.ts';
import { type ActivationChange, type Adaptation, adaptCheckpoint } from './adapted-checkpoint.ts';
import { checkSources } from './check.ts';
import { type AskedDTypes, type SourceFormats, storageOf } from './dtypes.ts';
import { type Checkpoint, openCheckpoint } from './open-checkpoint.ts';
import type { SideFiles } from './side-files.ts';

export interface CheckpointReport {
  readonly checkpoint: string;
  readonly format: Checkpoint['format'];
  /** Bytes of weights; null when they cannot be opened. */
  readonly checkpointBytes: number | null;
  readonly spec: ModelSpec;
  /** What the matrices are stored in, by number of weights; null when they cannot be opened. */
  readonly formats: SourceFormats | null;
  /** What would be merged into it, in this order. */
  readonly adapters: readonly AdapterReport[];
  /** The activation that is not the checkpoint's own. */
  readonly activation: ActivationChange | null;
  /** What conversion would store. */
  readonly dtypes: WeightDTypes;
  /** Of its weights. */
  readonly modelBytes: number;
  readonly ffn: FfnKind;
  /** What keeps it from being converted, a line each; none: it can be. */
  readonly problems: readonly string[];
  /** The model that conversion would write, its checksums all 0: enough to plan with. */
  readonly manifest: Manifest;
}

export interface FfnKind {
  readonly neurons: number;
  readonly activation: string;
  /** Whether most activations are zero, so that predictors can leave neurons out. */
  readonly sparse: boolean;
}

/** Whether `path` is to be taken for a checkpoint, and not for a model directory. */
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

/**
 * Inspects a Hugging Face directory or a GGUF file.
 * @throws InputError when it cannot be said what model it is, or when its family is not supported
 */
export async function inspectCheckpoint(
  path: string,
  asked: AskedDTypes & Adaptation = {},
): Promise<CheckpointReport> {
  const problems: string[] = [];
  /** The result of `step`; null, and a problem noted, when the checkpoint is to blame. */
  const attempt = async <T>(step: () => T | Promise<T>): Promise<T | null> => {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      problems.push(error.line);
      return null;
    }
  };
  const opened = await attempt(() => openCheckpoint(path));
  const checkpoint = opened && (await adaptCheckpoint(opened, asked));
  try {
    const { config, configFile } = checkpoint ?? (await configAlone(path, problems));
    const tensorNames = new Set(checkpoint?.source.tensors.keys());
    const recipe = recipeOf({ config, configFile, tensorNames });
    const sources =
      checkpoint && (await attempt(() => checkSources(recipe, checkpoint.source, configFile)));
    const sideFiles = checkpoint && (await attempt(() => checkpoint.readSideFiles(recipe.spec)));
    const { storage, formats } = sources
      ? storageOf(asked, recipe, sources)
      : { storage: storageByConfig(asked, config), formats: null };
    const manifest = manifestOf(recipe, storage, sideFiles ?? new Map());
    const { neurons, activation } = recipe.spec.ffn;
    return {
      checkpoint: path,
      format: checkpoint?.format ?? 'Hugging Face',
      checkpointBytes: checkpoint?.source.bytes ?? null,
      spec: recipe.spec,
      formats,
      adapters: checkpoint?.adapters ?? [],
      activation: checkpoint?.activation ?? null,
      dtypes: manifest.dtypes,
      modelBytes: [residentFile, bundlesFile].reduce(
        (sum, file) => sum + (manifest.files[file]?.bytes ?? 0),
        0,
      ),
      ffn: { neurons, activation, sparse: activations[activation].zeros },
      problems,
      manifest,
    };
  } finally {
    await checkpoint?.source.close();
  }
}

/** The configuration of a directory whose weights could not be opened. */
async function configAlone(
  path: string,
  problems: readonly string[],
): Promise<Pick<Checkpoint, 'config' | 'configFile'>> {
  const found = await stat(path).catch(() => null);
  if (!found?.isDirectory()) throw new InputError(problems[0] ?? 'cannot be opened');
  const { config, file } = await readConfig(path);
  return { config, configFile: file };
}

/** Dtypes by what the configuration says of weights that are not there. */
function storageByConfig(
  { dtype = 'auto', ffnDtype }: AskedDTypes,
  config: Readonly<Record<string, unknown>>,
): StorageDTypes {
  const names: Readonly<Record<string, FloatDType>> = { float16: 'f16', bfloat16: 'bf16' };
  const said = String(config.torch_dtype ?? config.dtype);
  const exact = names[said] ?? floatDTypes[0];
  const resident = dtype === 'auto' ? exact : dtype;
  return { resident, bundles: ffnDtype ?? resident, exact };
}

function manifestOf(recipe: ModelRecipe, storage: StorageDTypes, sideFiles: SideFiles): Manifest {
  const layout = layoutModel(recipe, storage);
  const files = [layout.resident, layout.bundles];
  const tensors = files.flatMap((file) => file.tensors);
  return {
    crc32: '',
    producer: `flashllm ${version}`,
    spec: recipe.spec,
    dtypes: { resident: storage.resident, bundles: storage.bundles },
    layers: layout.layers,
    files: Object.fromEntries([
      ...files.map(({ file, bytes }) => [file, { bytes, crc32: '' }] as const),
      ...[...sideFiles].map(([name, { length: bytes }]) => [name, { bytes, crc32: '' }] as const),
    ]),
    tensors: new Map(
      tensors.map((tensor) => {
        const placed = { ...tensor, checksums: new Uint32Array() };
        const blocks = Math.ceil(rowsOf(placed).rows / tensor.rowsPerBlock);
        return [tensor.name, { ...placed, checksums: new Uint32Array(blocks) }];
      }),
    ),
  };
}
