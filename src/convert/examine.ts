/**
 * Collects everything known about a checkpoint before a weight is converted, in one place: `inspect` and
 * `plan` report it and `convert` acts on it, so that they cannot disagree.
 */

import { basename } from 'node:path';
import type { AdapterReport } from '../checkpoint/lora/merged-source.ts';
import { hiddenQuantisation, QuantisedError } from '../checkpoint/quantisation.ts';
import type { SourceTensor, TensorSource } from '../checkpoint/source.ts';
import type { FloatDType } from '../dtype.ts';
import { InputError } from '../errors.ts';
import { layoutModel, type ModelLayout } from '../flash/layout.ts';
import { recipeOf } from '../models/index.ts';
import type { CheckpointFacts, ModelRecipe, ModelSpec } from '../models/spec.ts';
import { own } from '../own.ts';
import { some } from '../plain-text.ts';
import {
  type ActivationChange,
  type Adaptation,
  type Described,
  untied,
  withActivation,
  withConfig,
} from './adaptation.ts';
import { checkSources } from './check.ts';
import type { Checkpoint, OpenCheckpoint } from './checkpoint.ts';
import { type AskedDTypes, type SourceFormats, storageOf, type TargetDTypes } from './dtypes.ts';
import { openCheckpoint } from './open-checkpoint.ts';
import { sameValues } from './same-values.ts';
import type { SideContent } from './side-content.ts';
import { neuronFormat, type TargetFormat } from './target-formats.ts';
import type { Sources } from './weights.ts';

/** What is known while the side files are still being made. */
export interface WeightExamination {
  /** The open checkpoint, with the requested changes applied; null where the weights cannot be opened. */
  readonly checkpoint: Checkpoint | null;
  /** The adapters that were merged into it, in this order; none where merging is impossible. */
  readonly adapters: readonly AdapterReport[];
  /** The activation, if it is not the checkpoint's own. */
  readonly activation: ActivationChange | null;
  /** Bytes of memory that reading tensors takes in addition to the buffers they are read into. */
  readonly workBytes: number;
  readonly recipe: ModelRecipe;
  readonly storage: TargetDTypes;
  /** The formats of the matrices; null where matrices are missing. */
  readonly formats: SourceFormats | null;
  readonly layout: ModelLayout;
  readonly sources: Sources | null;
  /** The problems that prevent conversion; none: it can be converted. */
  readonly problems: readonly InputError[];
  /** Waits for the side files. */
  whole(): Promise<Examination>;
  /** Closes the checkpoint and the merged adapters. */
  close(): Promise<void>;
}

export interface Examination extends Omit<WeightExamination, 'whole'> {
  /** The recipe's spec, with the end tokens that the side files name. */
  readonly spec: ModelSpec;
  /** Configuration and tokenizer; null where they cannot be used. */
  readonly side: SideContent | null;
  /** Where the conversion deviates from its files, one sentence each. */
  readonly notes: readonly string[];
}

/**
 * Examines a Hugging Face directory or a GGUF file, which `open` opens, with the changes to make to it;
 * close the result when done.
 * @throws InputError when the model cannot be identified, or when its family is not supported
 */
export async function examineCheckpoint(
  path: string,
  asked: AskedDTypes & Adaptation,
  open: OpenCheckpoint = openCheckpoint,
): Promise<Examination> {
  const found = await examineWeights(path, asked, open);
  try {
    return await found.whole();
  } catch (error) {
    await found.close();
    throw error;
  }
}

/** The same, but its side files may still be being made. */
export async function examineWeights(
  path: string,
  asked: AskedDTypes & Adaptation,
  open: OpenCheckpoint,
): Promise<WeightExamination> {
  const problems: InputError[] = [];
  const notes: string[] = [];
  /** The result of `step`; if the checkpoint is at fault, null, and the problem is noted. */
  const attempt = async <T>(step: () => T | Promise<T>): Promise<T | null> => {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      problems.push(error);
      return null;
    }
  };
  const base = await attempt(() => open(path));
  const adapters = (await attempt(() => adaptersIn(asked.lora ?? []))) ?? [];
  const close = async () => {
    await Promise.all([base?.source, ...adapters].map((opened) => opened?.close()));
  };
  try {
    const said = base ?? (await configAlone(path, problems));
    const { configFile } = said;
    const active = await attempt(() => withActivation(said.config, adapters, asked.hiddenAct));
    const facts: CheckpointFacts = {
      config: active?.config ?? said.config,
      configFile,
      sourceNames: new Set(base?.source.tensors.keys()),
      tensorCount: base?.source.listed ?? 0,
    };
    const settled = await settle(facts, base?.source, attempt, notes).catch((error: unknown) => {
      throw besides(error, problems);
    });
    const checked =
      base && (await attempt(() => checkWeights(settled.recipe, base, configFile, path)));
    const passedOver = checked?.passedOver ?? [];
    if (passedOver.length > 0)
      notes.push(`${some(passedOver)} skipped: text generation does not need them`);
    const merged =
      base && checked && adapters.length > 0
        ? await attempt(async () => (await merging()).mergeInto(base.source, settled, adapters))
        : null;
    const { recipe, facts: adapted } = merged ?? settled;
    const isOther = active?.change != null || merged?.source.untied === true;
    const checkpoint = base && {
      ...(isOther ? withConfig(base, adapted.config) : base),
      source: merged?.source ?? base.source,
    };
    const sources = merged
      ? await attempt(() => checkSources(recipe, merged.source, configFile).sources)
      : (checked?.sources ?? null);
    const making = checkpoint?.readSideFiles(recipe.spec) ?? null;
    making?.catch(() => {}); // `whole` reports it
    const { storage, formats, ...laid } = sources
      ? storageOf(asked, recipe, sources)
      : { storage: storageByConfig(asked, said.config), recipe, formats: null, notes: [] };
    const weights = {
      checkpoint,
      adapters: merged?.source.adapters ?? [],
      activation: active?.change ?? null,
      workBytes: merged?.source.workBytes ?? 0,
      recipe: laid.recipe,
      storage,
      formats,
      layout: layoutModel(laid.recipe, storage),
      sources,
      problems,
      close,
    };
    const whole = async (): Promise<Examination> => {
      const side = await attempt(() => making);
      const eosIds = [...(side?.eosIds ?? recipe.spec.eosIds)];
      return {
        ...weights,
        spec: { ...recipe.spec, eosIds },
        side,
        notes: [...notes, ...(side?.notes ?? []), ...laid.notes],
      };
    };
    return { ...weights, whole };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Loaded where there are adapters. */
const merging = () => import('./merging.ts');

async function adaptersIn(dirs: readonly string[]) {
  return dirs.length === 0 ? [] : (await merging()).openAdapters(dirs);
}

type Attempt = <T>(step: () => T | Promise<T>) => Promise<T | null>;

/**
 * The recipe that fits the checkpoint's tensors. Where the configuration ties the head to the embedding but
 * the checkpoint holds a different head, that head is used, as in transformers 5.
 */
async function settle(
  facts: CheckpointFacts,
  source: TensorSource | undefined,
  attempt: Attempt,
  notes: string[],
): Promise<Described> {
  const recipe = recipeOf(facts);
  const tied = { facts, recipe };
  const [embedding, head] = [recipe.twoHeads?.embedding, recipe.twoHeads?.head].map((name) =>
    name === undefined ? undefined : source?.tensors.get(name),
  );
  if (embedding === undefined || head === undefined) return tied;
  const most = source?.mostCompared;
  const same = await attempt(() => sameValues(embedding, head, most));
  if (same === true && most !== undefined) {
    notes.push(
      `${head.name} begins with the values of ${embedding.name}: the two are taken to be the same, as ${basename(facts.configFile)} says`,
    );
  }
  if (same !== false) return tied;
  notes.push(
    `${basename(facts.configFile)} ties the head to the embedding, but ${head.name} holds other values: it is kept as a separate head`,
  );
  const apart = { ...facts, config: untied(facts.config) };
  return { facts: apart, recipe: recipeOf(apart) };
}

/**
 * The error for an unsupported family whose weights are also quantised in an unsupported way: fixing one
 * does not fix the other.
 */
function besides(error: unknown, problems: readonly InputError[]): unknown {
  const quantised = problems.find((problem) => problem instanceof QuantisedError);
  if (!(error instanceof InputError) || quantised === undefined) return error;
  return new InputError(
    `${error.message}; in addition, ${quantised.message}`,
    error.place,
    error.hint,
  );
}

/**
 * Checks the weights against the recipe, and lists those that are quantised.
 * @throws InputError that names the first wrong tensor
 */
async function checkWeights(
  recipe: ModelRecipe,
  { source, format }: Checkpoint,
  configFile: string,
  path: string,
) {
  try {
    const checked = checkSources(recipe, source, configFile);
    for (const copy of source.copies ?? []) {
      if (checked.needs(copy.name))
        await checkCopy(source.tensors.get(copy.name), copy, source.mostCompared);
    }
    return checked;
  } catch (error) {
    if (!(error instanceof InputError) || format === 'GGUF') throw error;
    throw (await hiddenQuantisation(path, source.tensors.keys())) ?? error;
  }
}

/** @throws InputError when two files hold a tensor of the same name with different values */
async function checkCopy(
  tensor: SourceTensor | undefined,
  copy: SourceTensor,
  mostBytes: number | undefined,
): Promise<void> {
  if (tensor === undefined || (await sameValues(tensor, copy, mostBytes))) return;
  throw new InputError(
    `has different values from the tensor of the same name in ${tensor.file}`,
    { file: copy.file, tensor: copy.name },
    'Download all files again: they belong to different checkpoints',
  );
}

/** The configuration of a directory whose weights could not be opened. */
async function configAlone(
  path: string,
  problems: readonly InputError[],
): Promise<Pick<Checkpoint, 'config' | 'configFile'>> {
  const [first] = problems;
  const { readConfig } = await import('../checkpoint/hf-directory.ts');
  const { config, file } = await readConfig(path).catch((error: unknown) => {
    throw first ?? error;
  });
  return { config, configFile: file };
}

/** Dtypes from the configuration, for weights that are missing. */
function storageByConfig(
  { dtype = 'auto', ffnDtype, tile }: AskedDTypes,
  config: Readonly<Record<string, unknown>>,
): TargetDTypes {
  const names: Readonly<Record<string, FloatDType>> = { float16: 'f16', bfloat16: 'bf16' };
  const exact = own(names, String(config.dtype ?? config.torch_dtype)) ?? 'f32';
  const known = (asked: TargetFormat | 'auto') => (asked === 'auto' ? exact : neuronFormat(asked));
  const tiled = tile === undefined ? {} : { tile };
  return { resident: known(dtype), bundles: known(ffnDtype ?? dtype), exact, ...tiled };
}
