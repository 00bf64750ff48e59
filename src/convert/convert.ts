/** Checkpoint in, model directory out. */

import type { AdapterReport } from '../checkpoint/lora/merged-source.ts';
import { InterruptedError, withNothingLeft } from '../errors.ts';
import { compileCore } from '../kernels/module.ts';
import type { ModelSpec, WeightDTypes } from '../models/spec.ts';
import { peakResidentBytes, residentBytes } from '../plan/process.ts';
import type { EndToken } from '../tokenizer/end-tokens.ts';
import { MIB, resolveSize, type Size } from '../units.ts';
import { version } from '../version.ts';
import type { ActivationChange, Adaptation } from './adaptation.ts';
import { allocateBuffers, type Buffers, planBuffers } from './buffers.ts';
import type { OpenCheckpoint } from './checkpoint.ts';
import type { SourceFormats } from './dtypes.ts';
import { type Examination, examineWeights, type WeightExamination } from './examine.ts';
import { Helper } from './helper.ts';
import { type ConvertProgress, ModelWriter } from './model-writer.ts';
import { openCheckpoint } from './open-checkpoint.ts';
import { checkOutput, OutputDirectory } from './output-directory.ts';
import type { TargetFormat } from './target-formats.ts';
import { writeSideFiles } from './write-side-files.ts';
import { checkWritten, writeManifest } from './written.ts';

export interface ConvertOptions extends Adaptation {
  readonly checkpoint: string;
  readonly output: string;
  /** `auto` keeps the checkpoint's; names such as `q4_k_m` are mixes of formats. */
  readonly dtype?: TargetFormat | 'auto';
  /** The format of the FFN, if it is to differ. */
  readonly ffnDtype?: TargetFormat;
  /**
   * Cuts FFNs into tiles of this many neurons instead of single neurons; it must divide the number of
   * neurons.
   */
  readonly tile?: number;
  /** Memory that the whole process may take: bytes, or a share of the converted weights. */
  readonly dramBudget?: number | Size;
  /** Replace a model that is already there. */
  readonly force?: boolean;
  /** Check everything that can be checked without reading weights, and write nothing. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ConvertProgress) => void;
}

export interface ConvertReport {
  readonly output: string;
  readonly spec: ModelSpec;
  readonly dtypes: WeightDTypes;
  /** The formats of the checkpoint's matrices, and how many weights each format has. */
  readonly formats: SourceFormats;
  /** The adapters that were merged into the checkpoint, in this order. */
  readonly adapters: readonly AdapterReport[];
  /** The activation, if it is not the checkpoint's own. */
  readonly activation: ActivationChange | null;
  /** The tokens that end a text. */
  readonly endTokens: readonly EndToken[];
  /** Where the conversion deviates from the checkpoint's files, one sentence each. */
  readonly notes: readonly string[];
  readonly checkpointBytes: number;
  readonly modelBytes: number;
  readonly dramBudget: number;
  readonly peakRss: number;
  readonly ms: number;
}

export const defaultConvertBudget = 512 * MIB;

/**
 * What the budget must leave beside the process and the thread that makes the side files, so that both work
 * at the same time: buffers with which copying is fast.
 */
const amplyBytes = 128 * MIB;

/**
 * Converts a Hugging Face directory or a GGUF file into a model directory that appears whole or not at all.
 * @throws InputError for a checkpoint that cannot be used; BudgetError below the floor
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<ConvertReport> {
  const started = performance.now();
  const { checkpoint, dryRun = false, signal } = options;
  const helper = new Helper(signal);
  if (!dryRun) await helper.startForFile(checkpoint, (bytes) => budgetBytes(options, bytes));
  try {
    const open: OpenCheckpoint = (path) => openCheckpoint(path, helper.sideFileMaker);
    const found = await examineWeights(checkpoint, options, open);
    try {
      const report = await convertExamined(found, options, helper);
      return { ...report, ms: performance.now() - started };
    } finally {
      await found.close();
    }
  } finally {
    await helper.end();
  }
}

async function convertExamined(
  found: WeightExamination,
  options: ConvertOptions,
  helper: Helper,
): Promise<Omit<ConvertReport, 'ms'>> {
  const { output, force = false, dryRun = false } = options;
  refuse(found);
  const { recipe, layout } = found;
  const { source, formats } = weightsOf(found);
  const { dtypes } = layout;
  const modelBytes = layout.resident.bytes + layout.bundles.bytes;
  const dramBudget = budgetBytes(options, modelBytes);
  const room = () => dramBudget - amplyBytes - residentBytes();
  // Where there is no room for both, the weights wait until the side files are made, and have no help.
  if (!helper.isTaken || room() < helper.pendingBytes) await wholeOf(found);
  if (!dryRun) helper.startFor(modelBytes, room());
  if (room() < helper.pendingBytes) await helper.end();
  const workBytes = { adapters: found.workBytes, thread: helper.pendingBytes };
  const buffers = planBuffers(recipe, layout, dramBudget, workBytes);
  if (dryRun) await checkOutput(output, modelBytes, force);
  else await writeModel(found, modelBytes, buffers, options, helper);
  const { spec, side, notes } = await wholeOf(found);
  return {
    output,
    spec,
    dtypes,
    formats,
    adapters: found.adapters,
    activation: found.activation,
    endTokens: side.endTokens,
    notes,
    checkpointBytes: source.bytes,
    modelBytes,
    dramBudget,
    peakRss: peakResidentBytes(),
  };
}

/** Writes the model directory, with the side files as soon as they are made. */
async function writeModel(
  found: WeightExamination,
  modelBytes: number,
  buffers: Buffers,
  options: ConvertOptions,
  helper: Helper,
): Promise<void> {
  const { output, force = false, signal, onProgress } = options;
  const { recipe, layout, storage } = found;
  const { sources } = weightsOf(found);
  const directory = await OutputDirectory.create(output, modelBytes, force);
  const refused = new AbortController();
  const stop = AbortSignal.any([refused.signal, ...(signal === undefined ? [] : [signal])]);
  try {
    const work = await allocateBuffers(buffers, compileCore(), stop, helper);
    const write = new ModelWriter({ recipe, layout, storage, sources, work, buffers, onProgress });
    const sideFiles = wholeOf(found).then(async ({ spec, side }) => {
      return { spec, stored: await writeSideFiles(side, directory.path) };
    });
    // Without a tokenizer there is no model.
    sideFiles.catch(() => refused.abort());
    const [{ spec, stored }, weights] = await bothEnded(sideFiles, write.weights(directory.path));
    const manifest = {
      crc32: '',
      producer: `flashllm ${version}`,
      spec,
      dtypes: layout.dtypes,
      ffns: layout.ffns,
      layers: layout.layers,
      files: { ...weights.files, ...stored },
      tensors: weights.tensors,
    };
    await writeManifest(directory.path, manifest);
    await checkWritten(directory.path);
    if (signal?.aborted) throw new InterruptedError();
    await directory.commit();
  } catch (error) {
    throw (await directory.abandon()) ? withNothingLeft(error) : error;
  }
}

/**
 * The results of both. If one fails, this waits for the other to end, so that nothing is still being
 * written; if both fail, the error is that of the first.
 */
async function bothEnded<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return [await one, await other];
}

/** @throws InputError when there is a problem */
function refuse({ problems: [problem] }: Pick<Examination, 'problems'>): void {
  if (problem !== undefined) throw problem;
}

/** The weights of an examination that found no problem. */
function weightsOf({ checkpoint, sources, formats }: WeightExamination) {
  if (checkpoint === null || sources === null || formats === null) throw new Error(unexplained);
  return { source: checkpoint.source, sources, formats };
}

/** The examination with its side files. @throws InputError when these cannot be used */
async function wholeOf(found: WeightExamination) {
  const all = await found.whole();
  refuse(all);
  const { spec, side, notes } = all;
  if (side === null) throw new Error(unexplained);
  return { spec, side, notes };
}

const unexplained = 'a part is missing, and no problem tells why';

function budgetBytes({ dramBudget = defaultConvertBudget }: ConvertOptions, of: number): number {
  return typeof dramBudget === 'number' ? dramBudget : resolveSize(dramBudget, of);
}
