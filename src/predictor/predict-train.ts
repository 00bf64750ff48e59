/**
 * Trains predictors for a whole model: its layers run over sample text one after the other, each layer's
 * predictor is trained from its FFN's inputs and activations, and all predictors are written to one file.
 */

import { crc32 } from 'node:zlib';
import type { Model } from '../engine/model.ts';
import { InputError } from '../errors.ts';
import { readManifest } from '../flash/manifest-reader.ts';
import type { PredictorReport } from '../flash/predictor-file.ts';
import { type PredictorSource, writePredictors } from '../flash/predictor-writer.ts';
import { activations } from '../models/spec.ts';
import { peakResidentBytes } from '../plan/process.ts';
import { version } from '../version.ts';
import {
  type Arrangement,
  type ArrangementReport,
  finishArrangement,
  prepareArrangement,
} from './arrangement.ts';
import type { PredictorInput } from './collect.ts';
import { stateBytes } from './hidden-states.ts';
import { TrainingJob } from './job.ts';
import { checkShare } from './rank-limits.ts';
import { sampleWindows } from './sample-text.ts';
import {
  decisive,
  type PredictTrainRequest,
  predictorDType,
  rowTokens,
  settingsFor,
} from './settings.ts';
import { claimTraining } from './training-claim.ts';
import { TrainingRun } from './training-run.ts';
import { firstWindows, tokensOf } from './windows.ts';

export interface LayerReport extends PredictorReport {
  /** The kind of its predictor; see `TrainedPredictor`. */
  readonly form: 'factors' | 'rows';
  readonly rank: number;
  /** Whether predicting pays; else every neuron of the layer is computed. */
  readonly used: boolean;
  /** Where the magnitude of the gate decides: the magnitude above which a neuron is wanted. */
  readonly magnitude?: number;
}

export interface PredictTrainReport {
  readonly layers: readonly LayerReport[];
  readonly tokens: number;
  /** Bytes of the predictors, and of the model's weights. */
  readonly bytes: number;
  readonly modelBytes: number;
  /** Layers that an earlier run had finished. */
  readonly resumed: number;
  /** The outcome of rearranging neurons, if it was to be done. */
  readonly arrangement?: ArrangementReport;
  readonly dramBudget: number;
  readonly peakRss: number;
  readonly ms: number;
}

/** Windows have at most the length of typical generated texts. */
const longestWindow = 512;

/**
 * Trains predictors and writes them into the model, and rearranges its neurons where that reduces reads; the
 * model is then closed, and must be opened again. Finished work of an earlier run with the same settings is
 * reused.
 * @throws InputError when the model or the text cannot be used, BudgetError when the budget is too small
 */
export async function predictTrain(
  model: Model,
  request: PredictTrainRequest,
): Promise<PredictTrainReport> {
  const { dir, manifest } = model.files;
  if (manifest.spec.ffn.experts !== undefined) {
    throw new InputError(
      'is a mixture of experts: its routers choose the experts, so there is nothing to predict',
      { file: dir },
    );
  }
  checkActivation(model, request);
  if (manifest.layers.length === 0) {
    throw new InputError(
      'has FFNs that are not stored as single neurons, as predictors need them',
      { file: dir },
      'Convert the checkpoint again with an --ffn-dtype of f16, bf16, f32, q8 or q4',
    );
  }
  const release = await claimTraining(dir);
  try {
    // Before the claim, another process may have replaced the model by another one.
    if ((await readManifest(dir)).crc32 !== model.manifest.crc32) {
      throw new InputError('was replaced since it was opened', { file: dir }, 'Start again');
    }
    return await train(model, request);
  } finally {
    release();
  }
}

/** @throws InputError when the options do not suit the way the model's neurons fire */
function checkActivation(model: Model, request: PredictTrainRequest): void {
  const { spec } = model.manifest;
  const { zeros } = activations[spec.ffn.activation];
  if (zeros && request.thresholdSparsity !== undefined) {
    throw new InputError(
      `its FFNs use ${spec.ffn.activation}, with which most neurons are exactly 0 already`,
      { file: model.files.dir },
      'Train without --threshold-sparsity',
    );
  }
  if (!zeros && request.thresholdSparsity === undefined) {
    throw new InputError(
      `its FFNs use ${spec.ffn.activation}, where no neuron is ever exactly 0`,
      { file: model.files.dir },
      '--threshold-sparsity 0.5 treats the half of the neurons that is nearest to 0 as 0; without predictors, the model computes every neuron',
    );
  }
  if (!zeros && request.arrange === true) {
    throw new InputError(
      `its FFNs use ${spec.ffn.activation}: every neuron fires for every token, so no order saves reads`,
      { file: model.files.dir },
      'Train without --arrange',
    );
  }
}

async function train(model: Model, request: PredictTrainRequest): Promise<PredictTrainReport> {
  const started = performance.now();
  const { manifest } = model;
  const { spec } = manifest;
  const settings = settingsFor(model, request);
  checkShare(model, request, settings);
  const context = Math.min(spec.maxPositions, longestWindow);
  const windows = await sampleWindows(model, request, context, settings.maxTokens);
  let tokens = 0;
  const { importFrom } = settings;
  const decides = {
    version,
    model: manifest.crc32,
    windows: windows.length,
    text: windows.reduce((sum, ids) => crc32(Buffer.from(Uint32Array.from(ids).buffer), sum), 0),
    context,
    ...decisive(settings),
  };
  // The number of all tokens, or of those that rows need.
  const states = [windows, firstWindows(windows, rowTokens(model, settings))].map((some) =>
    stateBytes(tokensOf(some), spec.hiddenSize),
  );
  const job = await TrainingJob.open(model.files.dir, manifest, decides, states);
  const resumed = job.layers.length;
  let bytes = 0;
  let arrangement: Arrangement | null = null;
  try {
    const run = await TrainingRun.start(model, settings, windows, job);
    try {
      tokens = await run.layers();
      const predictors = predictorsOf(job, importFrom === undefined ? 'ffn' : 'residual');
      bytes = await writePredictors(model.files.dir, manifest, predictors);
      if (settings.arrange) {
        arrangement = await prepareArrangement(model, run, job, predictors, settings);
      }
    } finally {
      await run.close();
    }
  } catch (error) {
    // Without a finished layer there is no work to resume.
    if (job.layers.length === 0) await job.remove().catch(() => {});
    throw error;
  }
  const arranged = arrangement && (await finishArrangement(arrangement, model));
  // The directory with the old order has been replaced.
  if (!arranged?.done) await job.remove();
  return {
    layers: job.layers.map(({ form, rank, used, magnitude, report }) => ({
      form,
      rank,
      used,
      ...(magnitude && { magnitude: magnitude.threshold }),
      ...report,
    })),
    tokens,
    bytes,
    modelBytes: model.weightBytes,
    resumed,
    ...(arranged && { arrangement: arranged }),
    dramBudget: request.budget,
    peakRss: peakResidentBytes(),
    ms: performance.now() - started,
  };
}

/** The predictors of a finished job, in the model's order of neurons. */
function predictorsOf(job: TrainingJob, input: PredictorInput): PredictorSource {
  return {
    producer: `flashllm ${version}`,
    dtype: predictorDType,
    layers: job.layers.map(({ form, rank, relu, magnitude, report, used }) => {
      if (!used) return null;
      const rows = form === 'rows' && magnitude === undefined;
      return {
        ...(rows && { form }),
        ...{ rank, relu, input },
        ...(magnitude && { magnitude }),
        report,
      };
    }),
    checksum: (layer, part) => job.layers[layer]?.parts[part].checksum ?? 0,
    bytes: (layer, part) => job.bytes(layer, part),
  };
}
